/** What the media engine knows beside playing: subtitle files and tags. A module of its own (`media-wasm`), loaded when somebody asks. */
import type { View } from './api';
import { places } from './whole';
import init, { subtitles, TagReader } from './wasm/media/media.js';
import wasm from './wasm/media/media_bg.wasm?url';

export interface Tags {
  title: string | null;
  artist: string | null;
  album: string | null;
  cover: { mime: string; bytes: Uint8Array<ArrayBuffer> } | null;
}

let loading: Promise<unknown> | null = null;

/** Loads the module once. Rejects when it does not come; the next call tries again. */
async function load(): Promise<void> {
  loading ??= init({ module_or_path: new URL(wasm, import.meta.url) });
  try {
    await loading;
  } catch (error) {
    loading = null;
    throw error;
  }
}

/** The cues of a subtitle file; `null` if it is none. */
export async function readSubtitles(file: Blob): Promise<VTTCue[] | null> {
  await load();
  const flat = subtitles(await bytes(file)) as unknown[] | undefined;
  if (!flat) return null;
  const cues: VTTCue[] = [];
  for (let i = 0; i < flat.length; i += 4) {
    const cue = new VTTCue(flat[i] as number, flat[i + 1] as number, flat[i + 2] as string);
    if (flat[i + 3] === true) cue.line = 0;
    cues.push(cue);
  }
  return cues;
}

/** Title, artist, album and cover of a file of `meta.files`. */
export async function readTags(view: View, file: number, size: number): Promise<Tags | null> {
  await load();
  const read = places(view, file);
  const reader = new TagReader(size);
  try {
    for (let reads = 0; reads < READS_MAX; reads++) {
      const news = reader.poll() as [number, number] | Tags;
      if (!Array.isArray(news)) return news;
      reader.give(news[0], await read(news[0], Math.min(news[1], size)));
    }
    return null;
  } finally {
    reader.free();
  }
}

/** By Response: Chromium 79 has it, `Blob.arrayBuffer` and all. */
const bytes = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await new Response(blob).arrayBuffer());

/** An Ogg file with a large picture has a page per 64 KB. */
const READS_MAX = 300;
