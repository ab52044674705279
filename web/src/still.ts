/**
 * Small pictures of a film beside the one that plays: where a seek would lead. A `<video>` outside the document decodes them through MediaSource, because plain
 * http has no WebCodecs; one at a time, the place that was asked for last first.
 */
import type { Still, View } from './api';

/** A picture, and when the film shows it, seconds. */
export interface Seen {
  at_s: number;
  picture: HTMLCanvasElement;
}

/** Gives what can be seen at a place; `null`: nothing, now. */
export type Look = (at_s: number) => Promise<Seen | null>;

/** Looks again and again where it is told to, and tells what it saw. */
export class Looker {
  readonly #look: Look;
  readonly #told: (seen: Seen | null) => void;
  #wanted: number | null = null;
  #busy = false;

  constructor(look: Look, told: (seen: Seen | null) => void) {
    this.#look = look;
    this.#told = told;
  }

  /** `null`: nowhere any more. */
  at(wanted: number | null): void {
    this.#wanted = wanted;
    if (wanted === null) this.#told(null);
    else if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    let done: number | null = null;
    while (this.#wanted !== null && this.#wanted !== done) {
      done = this.#wanted;
      const seen = await this.#look(done).catch(() => null);
      if (this.#wanted !== null) this.#told(seen);
    }
    this.#busy = false;
  }
}

/** Looks into what is here of a view's film. */
export function lookInto(view: View): Look {
  const kept = new Map<number, HTMLCanvasElement>();
  let file: number | null = null;
  return async (at_s) => {
    const now = view.stats().file;
    if (now !== file) kept.clear();
    file = now;
    const still = await view.still(at_s);
    if (!still) return null;
    const picture = kept.get(still.at_s) ?? (await drawn(still));
    if (!picture) return null;
    // Last used, last dropped.
    kept.delete(still.at_s);
    kept.set(still.at_s, picture);
    for (const old of kept.keys()) if (kept.size > KEPT_MAX) kept.delete(old);
    return { at_s: still.at_s, picture };
  };
}

/** Looks into a file of this machine, where this browser plays it just so. `isIt`: whether a film of this length is what is meant. */
export function lookIntoFile(file: File, isIt: (seconds: number) => boolean): Look {
  const video = newEasel();
  const known = once(video, 'loadedmetadata');
  const failed = once(video, 'error').then(() => Promise.reject(new Error('error')));
  failed.catch(() => undefined);
  // As long as the page: it costs a decoder that rests.
  video.src = URL.createObjectURL(file);
  return async (at_s) => {
    if (!(await Promise.race([known, failed, tooLate()])) || !isIt(video.duration)) return null;
    const there = once(video, 'seeked');
    video.currentTime = Math.min(at_s, Math.max(0, video.duration - 0.1));
    await Promise.race([there, failed, tooLate()]);
    const picture = await onceThere(video, WIDTH);
    return picture && { at_s: video.currentTime, picture };
  };
}

/** A picture so many pixels wide, and never more than twice as high. */
export function small(from: CanvasImageSource, wide: number, width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = wide;
  canvas.height = Math.max(1, Math.min(2 * wide, Math.round((wide * height) / width)));
  // What is drawn is read again: to see whether there is anything, to pack it.
  canvas.getContext('2d', { willReadFrequently: true })!.drawImage(from, 0, 0, canvas.width, canvas.height);
  return canvas;
}

let easel: HTMLVideoElement | null = null;
let last: Promise<unknown> = Promise.resolve();

/** There is one easel: whoever comes next waits. */
function drawn(still: Still): Promise<HTMLCanvasElement | null> {
  const picture = last.then(() => paint(still));
  last = picture;
  return picture;
}

async function paint(still: Still): Promise<HTMLCanvasElement | null> {
  const video = (easel ??= newEasel());
  const source = newSource();
  const url = URL.createObjectURL(source);
  try {
    const opened = once(source, 'sourceopen');
    const seen = once(video, 'loadeddata');
    const failed = once(video, 'error').then(() => Promise.reject(new Error('error')));
    const shown = opened.then(async () => {
      const buffer = source.addSourceBuffer(still.mime);
      const taken = once(buffer, 'updateend');
      buffer.appendBuffer(still.data);
      await taken;
      // Decoders that wait for pictures in between give what they have.
      if (source.readyState === 'open') source.endOfStream();
      await seen;
      return onceThere(video, WIDTH);
    });
    video.src = url;
    return await Promise.race([shown, failed, tooLate()]);
  } catch {
    return null;
  } finally {
    video.removeAttribute('src');
    video.load();
    URL.revokeObjectURL(url);
  }
}

/** What a video shows. Chromium may say that it has a picture a moment before it can be copied: what is copied then is clear. */
export async function onceThere(video: HTMLVideoElement, wide: number): Promise<HTMLCanvasElement | null> {
  for (let tries = 0; tries < TRIES_MAX && video.videoWidth > 0; tries += 1) {
    const canvas = small(video, wide, video.videoWidth, video.videoHeight);
    if (canvas.getContext('2d')!.getImageData(0, 0, 1, 1).data[3]! > 0) return canvas;
    await new Promise(requestAnimationFrame);
  }
  return null;
}

function newEasel(): HTMLVideoElement {
  const video = document.createElement('video');
  video.muted = true;
  video.preload = 'auto';
  video.disableRemotePlayback = true;
  return video;
}

/** iPhones have another one only. */
function newSource(): MediaSource {
  const { ManagedMediaSource } = window as { ManagedMediaSource?: typeof MediaSource };
  return new (window.MediaSource ?? ManagedMediaSource)();
}

const once = (target: EventTarget, name: string): Promise<unknown> => new Promise((done) => target.addEventListener(name, done, { once: true }));

/** A decoder that gives nothing must not stop all others. */
const tooLate = (): Promise<null> => new Promise((done) => setTimeout(done, DECODE_MS, null));
const DECODE_MS = 2000;
/** A second and more. */
const TRIES_MAX = 90;

/** Drawn twice as fine as it is shown. */
const WIDTH = 320;
/** 230 KB each. */
const KEPT_MAX = 32;
