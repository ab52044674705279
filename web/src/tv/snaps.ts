/**
 * What the film looked like where it was played: small JPEGs for telephones that seek, and for our own seek bar. They are copied from the picture that is
 * shown anyway: televisions have one decoder, and nothing is fetched. Where the picture lies beyond the page's reach, as on televisions that copy black, there are none.
 */
import { onceThere, small } from '../still';
import { video } from '../ui/playback';

export interface Snap {
  atMs: number;
  jpeg: Uint8Array;
}

/** By their stretch of the film. */
let kept = new Map<number, Snap>();
let stretch_s = 0;
let busy = false;
/** A look that would have come while there was one. */
let missed = false;
/** Whether anybody wanted one. */
let wanted = false;

function forgetSnaps(): void {
  kept = new Map();
  stretch_s = 0;
}

/** What was seen at this place, not long before it, or else soon after. */
export function snapAt(ms: number): Snap | null {
  wanted = true;
  if (stretch_s === 0) return null;
  const at = Math.floor(ms / 1000 / stretch_s);
  const here = kept.get(at);
  return (here && here.atMs <= ms ? here : (kept.get(at - 1) ?? here)) ?? null;
}

export function beginSnaps(): void {
  // Another film. What the statistics say of that comes later than its first pictures.
  video.addEventListener('emptied', forgetSnaps);
  video.addEventListener('timeupdate', () => {
    if (wanted || !KEEPS_COPIES) void look();
  });
  for (const name of ['seeked', 'pause']) video.addEventListener(name, () => void look());
}

async function look(): Promise<void> {
  missed ||= busy;
  if (busy || video.seeking || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !isFinite(video.duration)) return;
  if (stretch_s === 0) stretch_s = Math.max(STRETCH_S, video.duration / SNAPS_MAX);
  const [all, stretch, from_s] = [kept, stretch_s, video.currentTime];
  const at = Math.floor(from_s / stretch);
  if (all.has(at)) return;
  busy = true;
  try {
    const canvas = await onceThere(video, WIDTH);
    // It may have moved on, or away, while there was nothing to copy.
    const atMs = Math.round(video.currentTime * 1000);
    const stayed = kept === all && !video.seeking && Math.floor(atMs / 1000 / stretch) === at;
    const jpeg = canvas && stayed && !isBlack(canvas) ? await packed(canvas) : null;
    if (jpeg) all.set(at, { atMs, jpeg });
  } finally {
    busy = false;
  }
  if (missed) {
    missed = false;
    await look();
  }
}

/** As good as fits into a word; what is too full of detail for that is made smaller. */
async function packed(canvas: HTMLCanvasElement): Promise<Uint8Array | null> {
  for (const wide of [WIDTH, WIDTH / 2]) {
    const picture = wide === WIDTH ? canvas : small(canvas, wide, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise<Blob | null>((done) => picture.toBlob(done, 'image/jpeg', quality));
      if (blob && blob.size <= JPEG_MAX) return new Uint8Array(await blob.arrayBuffer());
    }
  }
  return null;
}

function isBlack(canvas: HTMLCanvasElement): boolean {
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  return data.every((value, i) => i % 4 === 3 || value < BLACK);
}

/**
 * Engines of this age keep each picture of the film that was ever copied, whole, until memory is short: 8 MB each in 1080p. While nobody has asked for
 * one they copy only where somebody stopped or jumped to.
 */
const KEEPS_COPIES = !('requestVideoFrameCallback' in HTMLVideoElement.prototype);
/** Finer than anybody's thumb on a slider, seconds. */
const STRETCH_S = 5;
/** 4 KB each: 2 MB. Stretches are longer in films of more than forty minutes. */
const SNAPS_MAX = 500;
const WIDTH = 160;
/** `JPEG_MAX` of remote/src/words.rs. */
const JPEG_MAX = 3900;
const QUALITIES = [0.7, 0.5, 0.3];
/** A copied overlay is 0 or, in limited range, 16. */
const BLACK = 20;
