// What the one <video> of a page really shows.
import type { Frame, Page } from '@playwright/test';

const VIDEO = '[data-testid=video]';
const PATIENCE_MS = 20_000;

export interface Shown {
  /** Presentation time of the picture, seconds. */
  mediaTime: number;
  width: number;
  height: number;
  /** `performance.now()` when it was presented, ms since navigation. */
  at: number;
}

export interface ShownOptions {
  /** The picture is from this time or later. */
  from?: number;
  /** The picture is from before this time. */
  before?: number;
  timeout?: number;
}

/** Waits until a picture is presented (`requestVideoFrameCallback`), of this time where that matters. */
export async function shown(page: Page | Frame, options: ShownOptions = {}): Promise<Shown> {
  const { from = 0, before = Infinity, timeout = PATIENCE_MS } = options;
  await page.waitForSelector(VIDEO, { state: 'attached', timeout });
  // JSON has no Infinity.
  return page.evaluate(
    ({ selector, from, before, timeout }) =>
      new Promise<Shown>((resolve, reject) => {
        const video = document.querySelector<HTMLVideoElement>(selector)!;
        const limit = before ?? Infinity;
        // A paused video presents nothing new: what it shows now counts.
        const still = (): void => {
          if (video.readyState >= 2 && video.videoWidth > 0 && !video.seeking) {
            take({ mediaTime: video.currentTime, width: video.videoWidth, height: video.videoHeight }, performance.now());
          }
        };
        const take = (frame: { mediaTime: number; width: number; height: number }, at: number): void => {
          if (frame.mediaTime < from - 0.001 || frame.mediaTime >= limit) return;
          clearTimeout(timer);
          clearInterval(poll);
          resolve({ mediaTime: frame.mediaTime, width: frame.width, height: frame.height, at });
        };
        const next = (now: number, frame: VideoFrameCallbackMetadata): void => {
          take(frame, now);
          video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
        const poll = setInterval(() => video.paused && still(), 50);
        const timer = setTimeout(() => {
          clearInterval(poll);
          const ranges = [...Array(video.buffered.length).keys()];
          const buffered = ranges.map((it) => `${video.buffered.start(it).toFixed(2)}–${video.buffered.end(it).toFixed(2)}`);
          const state = `at ${video.currentTime.toFixed(2)} s, readyState ${video.readyState}, paused ${video.paused}`;
          const wanted = `[${from}, ${limit})`;
          reject(new Error(`no picture of ${wanted} s in ${timeout} ms: ${state}, buffered ${buffered.join(' ') || 'nothing'}`));
        }, timeout);
      }),
    { selector: VIDEO, from, before: Number.isFinite(before) ? before : null, timeout },
  );
}

/** Waits until the film has run on for so many seconds beyond where it is now. */
export async function plays(page: Page | Frame, seconds = 1): Promise<void> {
  const start = (await state(page)).currentTime;
  await shown(page, { from: start + seconds, timeout: PATIENCE_MS + seconds * 2000 });
}

export interface VideoState {
  currentTime: number;
  duration: number;
  paused: boolean;
  muted: boolean;
  ended: boolean;
  /** Frames the decoder has put out; some of them may have been dropped. */
  frames: number;
  dropped: number;
  /** Bytes of sound decoded (Chromium) or whether there is sound (Firefox); `null` where the browser does not tell. */
  sound: number | null;
  error: string | null;
}

export function state(page: Page | Frame): Promise<VideoState> {
  return page.evaluate((selector) => {
    const video = document.querySelector<HTMLVideoElement>(selector)!;
    const quality = video.getVideoPlaybackQuality();
    const more = video as { webkitAudioDecodedByteCount?: number; mozHasAudio?: boolean };
    const sound = more.webkitAudioDecodedByteCount ?? (more.mozHasAudio === undefined ? null : Number(more.mozHasAudio));
    const { currentTime, duration, paused, muted, ended } = video;
    const frames = quality.totalVideoFrames;
    const dropped = quality.droppedVideoFrames;
    return { currentTime, duration, paused, muted, ended, frames, dropped, sound, error: video.error?.message ?? null };
  }, VIDEO);
}

/** The mean colour of the upper half of the picture now on show: red, green, blue, 0 to 255. */
export function colour(page: Page | Frame): Promise<[number, number, number]> {
  return page.evaluate((selector) => {
    const video = document.querySelector<HTMLVideoElement>(selector)!;
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 16;
    const context = canvas.getContext('2d')!;
    context.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / 2, 0, 0, 16, 16);
    const { data } = context.getImageData(0, 0, 16, 16);
    const mean = (channel: number): number => {
      let sum = 0;
      for (let at = channel; at < data.length; at += 4) sum += data[at]!;
      return (sum * 4) / data.length;
    };
    return [mean(0), mean(1), mean(2)];
  }, VIDEO);
}

/** Seeks without the player's controls. */
export async function seek(page: Page | Frame, seconds: number): Promise<void> {
  await page.evaluate(
    ([selector, seconds]) => {
      document.querySelector<HTMLVideoElement>(selector)!.currentTime = seconds;
    },
    [VIDEO, seconds] as const,
  );
}

/** The loudest tone that the film makes now, Hz (WebAudio, in steps of 6 Hz); 0 for silence. */
export function tone(page: Page | Frame): Promise<number> {
  return page.evaluate(async (selector) => {
    const video = document.querySelector<HTMLVideoElement>(selector)! as HTMLVideoElement & { ear?: AnalyserNode };
    if (!video.ear) {
      const context = new AudioContext();
      await context.resume();
      video.ear = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      // An element can be given to one graph only, and is heard through that from then on.
      context.createMediaElementSource(video).connect(video.ear).connect(context.destination);
    }
    const levels = new Float32Array(video.ear.frequencyBinCount);
    video.ear.getFloatFrequencyData(levels);
    const loudest = levels.reduce((best, level, i) => (level > levels[best]! ? i : best), 0);
    return levels[loudest]! > -80 ? (loudest * video.ear.context.sampleRate) / 8192 : 0;
  }, VIDEO);
}

/** What is written over the picture now. */
export function words(page: Page | Frame): Promise<string> {
  return page.evaluate((selector) => {
    const lists = [...document.querySelector<HTMLVideoElement>(selector)!.textTracks].filter((it) => it.mode === 'showing');
    return lists.flatMap((it) => [...(it.activeCues ?? [])].map((cue) => (cue as VTTCue).text)).join('|');
  }, VIDEO);
}
