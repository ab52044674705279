// What the one <video> of a page really shows.
import type { Frame, Page } from '@playwright/test';
import { DIGIT } from './media.ts';
import { middle, toldTime } from './sweep.ts';

const VIDEO = '[data-testid=video]';
/** How long a picture may take. Generous: no test is about time, and a machine may be busy with something else. */
const PATIENCE_MS = 60_000;

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
  /** Pauses the film at that very picture, so that whoever looks at it later sees the same. */
  hold?: boolean;
  timeout?: number;
}

/** Waits until a picture is presented (`requestVideoFrameCallback`), of this time where that matters. */
export async function shown(page: Page | Frame, options: ShownOptions = {}): Promise<Shown> {
  return (await watchFor(page, options))();
}

/**
 * The same in two steps: it watches once this has returned, and what it returns waits. For pictures that soon give way to others: a busy
 * machine may ask for them when they are gone.
 */
export async function watchFor(page: Page | Frame, options: ShownOptions = {}): Promise<() => Promise<Shown>> {
  const { from = 0, before = Infinity, hold = false, timeout = PATIENCE_MS } = options;
  await page.waitForSelector(VIDEO, { state: 'attached', timeout });
  const watch = await page.evaluateHandle(
    ({ selector, from, before, hold, timeout }) => {
      const picture = new Promise<Shown>((resolve, reject) => {
        const video = document.querySelector<HTMLVideoElement>(selector)!;
        const limit = before ?? Infinity;
        // A paused video presents nothing new: what it shows now counts.
        const still = (): void => {
          if (video.readyState >= 2 && video.videoWidth > 0 && !video.seeking) {
            take({ mediaTime: video.currentTime, width: video.videoWidth, height: video.videoHeight }, performance.now());
          }
        };
        let over = false;
        const take = (frame: { mediaTime: number; width: number; height: number }, at: number): void => {
          if (over || frame.mediaTime < from - 0.001 || frame.mediaTime >= limit) return;
          over = true;
          clearTimeout(timer);
          clearInterval(poll);
          if (hold) video.pause();
          resolve({ mediaTime: frame.mediaTime, width: frame.width, height: frame.height, at });
        };
        const next = (now: number, frame: VideoFrameCallbackMetadata): void => {
          take(frame, now);
          if (!over) video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
        const poll = setInterval(() => video.paused && still(), 50);
        const timer = setTimeout(() => {
          over = true;
          clearInterval(poll);
          const ranges = [...Array(video.buffered.length).keys()];
          const buffered = ranges.map((it) => `${video.buffered.start(it).toFixed(2)}–${video.buffered.end(it).toFixed(2)}`);
          const state = `at ${video.currentTime.toFixed(2)} s, readyState ${video.readyState}, paused ${video.paused}`;
          const wanted = `[${from}, ${limit})`;
          reject(new Error(`no picture of ${wanted} s in ${timeout} ms: ${state}, buffered ${buffered.join(' ') || 'nothing'}`));
        }, timeout);
      });
      // Whoever waits hears of it; until then nobody has to.
      picture.catch(() => undefined);
      return { picture };
    },
    // JSON has no Infinity.
    { selector: VIDEO, from, before: Number.isFinite(before) ? before : null, hold, timeout },
  );
  return () => watch.evaluate(({ picture }) => picture);
}

/** Waits until the film has run on for so many seconds beyond where it is now. One that is over is begun again. */
export async function plays(page: Page | Frame, seconds = 1): Promise<void> {
  await page.evaluate(
    ({ selector, seconds, timeout }) =>
      new Promise<void>((resolve, reject) => {
        const video = document.querySelector<HTMLVideoElement>(selector)!;
        // On a busy machine a film of half a minute may be over by now, or be over before it has run for so long.
        let start = video.ended ? 0 : video.currentTime;
        let ran = 0;
        const again = (): void => {
          ran += video.currentTime - start;
          start = 0;
          void video.play();
        };
        if (video.ended) void video.play();
        const done = (): void => {
          clearTimeout(timer);
          video.removeEventListener('ended', again);
        };
        const next = (_: number, { mediaTime }: VideoFrameCallbackMetadata): void => {
          // It goes round (`endless`).
          if (mediaTime < start) start = mediaTime;
          if (ran + mediaTime - start < seconds) return void video.requestVideoFrameCallback(next);
          done();
          resolve();
        };
        video.addEventListener('ended', again);
        video.requestVideoFrameCallback(next);
        const timer = setTimeout(() => {
          done();
          const state = `at ${video.currentTime.toFixed(2)} s, readyState ${video.readyState}, paused ${video.paused}`;
          reject(new Error(`the film does not run on for ${seconds} s from ${start.toFixed(2)} s: ${state}`));
        }, timeout);
      }),
    { selector: VIDEO, seconds, timeout: PATIENCE_MS },
  );
}

/** For `init`: who watches pauses the film in the moment in which it begins. */
export const pausesAtOnce = (): void => {
  document.addEventListener('playing', (event) => (event.target as HTMLVideoElement).pause(), { capture: true, once: true });
};

/** Lets the film go round: it is not over before a test is, however busy the machine. */
export async function endless(page: Page | Frame): Promise<void> {
  await page.evaluate((selector) => {
    const video = document.querySelector<HTMLVideoElement>(selector)!;
    video.loop = true;
    if (video.ended) void video.play();
  }, VIDEO);
}

/**
 * A hand that never rests, once the player is there: the controls stay. They go away while a busy machine makes up its mind to click,
 * and Playwright then waits for ever for what takes no clicks.
 */
export async function awake(page: Page | Frame): Promise<void> {
  await page.waitForSelector('[data-testid=play]', { state: 'attached', timeout: PATIENCE_MS });
  await page.evaluate(() => {
    const stir = (): void => {
      document.querySelector('.deck')?.dispatchEvent(new PointerEvent('pointermove', { pointerType: 'mouse', bubbles: true }));
    };
    stir();
    setInterval(stir, 500);
  });
}

export interface VideoState {
  currentTime: number;
  duration: number;
  /** Somebody has paused it. A film that is over waits for nobody: it is not. */
  paused: boolean;
  /** Seconds of the film that have been played, and where playing began. */
  played: number;
  began: number;
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
    const { currentTime, duration, muted, ended } = video;
    const paused = video.paused && !ended;
    const ranges = [...Array(video.played.length).keys()];
    const played = ranges.reduce((sum, it) => sum + video.played.end(it) - video.played.start(it), 0);
    const began = ranges.length > 0 ? video.played.start(0) : NaN;
    const frames = quality.totalVideoFrames;
    const dropped = quality.droppedVideoFrames;
    return { currentTime, duration, paused, played, began, muted, ended, frames, dropped, sound, error: video.error?.message ?? null };
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

/** What a film of `codedFilm` shows after a jump. */
export interface Numbered {
  /** The number in the picture; -1 where there is none to read. */
  number: number;
  /** When the browser says that this picture is due, seconds. */
  mediaTime: number;
}

/**
 * Jumps while the film is paused, and reads the picture that is shown then: as soon as its number is between these two, else when the patience
 * is over. The browser's own time of that picture is waited for where it can be relied on (not in Firefox, which tells others too).
 */
export async function jump(page: Page | Frame, seconds: number, [low, high]: [number, number], timed: boolean): Promise<Numbered> {
  await readsNumbers(page);
  return page.evaluate(
    ({ selector, seconds, low, high, timed, patience }) =>
      new Promise<Numbered>((resolve) => {
        const video = document.querySelector<Reader>(selector)!;
        let mediaTime = NaN;
        const next = (_: number, frame: VideoFrameCallbackMetadata): void => {
          mediaTime = frame.mediaTime;
          video.requestVideoFrameCallback(next);
        };
        const end = performance.now() + patience;
        const look = (): void => {
          const number = video.seeking ? -1 : video.number!();
          const right = number >= low && number <= high && (!timed || (mediaTime > seconds - 0.25 && mediaTime < seconds + 0.001));
          if (right || performance.now() > end) resolve({ number, mediaTime });
          else setTimeout(look, 30);
        };
        video.addEventListener('seeked', look, { once: true });
        video.requestVideoFrameCallback(next);
        video.currentTime = seconds;
      }),
    { selector: VIDEO, seconds, low, high, timed, patience: PATIENCE_MS },
  );
}

/** A `<video>` that says which number is drawn into the picture now on show; -1 where there is none to read. */
type Reader = HTMLVideoElement & { number?: () => number };

/** Teaches that to the one of the page. */
function readsNumbers(page: Page | Frame): Promise<void> {
  return page.evaluate(
    ({ selector, digit }) => {
      const video = document.querySelector<Reader>(selector)!;
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [digit.count * digit.width, 2 * digit.height];
      const context = canvas.getContext('2d', { willReadFrequently: true })!;
      // The middle of a digit: its borders are blurred.
      const light = (bit: number, row: number): number => {
        const [left, top] = [bit * digit.width + digit.width / 4, row * digit.height + digit.height / 4];
        const { data } = context.getImageData(left, top, digit.width / 2, digit.height / 2);
        return data.reduce((sum, value, i) => (i % 4 === 1 ? sum + value : sum), 0) / (data.length / 4);
      };
      video.number ??= () => {
        const height = (video.videoHeight * canvas.height) / digit.pictureHeight;
        context.drawImage(video, 0, 0, video.videoWidth, height, 0, 0, canvas.width, canvas.height);
        let number = 0;
        for (let bit = 0; bit < digit.count; bit++) {
          const difference = light(bit, 0) - light(bit, 1);
          if (Math.abs(difference) < 100) return -1;
          if (difference > 0) number += 2 ** bit;
        }
        return number;
      };
    },
    { selector: VIDEO, digit: DIGIT },
  );
}

/** The film through WebAudio, as the middle one of so many samples: how much later in the film than something else, and how loud. */
export interface Heard {
  ahead_s: number;
  level: number;
}

/**
 * Listens while the film plays, beside the element's own time, or beside the picture that is on show: `due` says when in the film the middle of the
 * one of this number is, or `null` for one that is not looked at. A sample counts when sound fills all of it; what a busy machine does to a few of
 * them does not move the middle one.
 */
export async function listen(page: Page | Frame, due?: (number: number) => number | null, samples = 15): Promise<Heard> {
  if (due) await readsNumbers(page);
  const found: { ahead_s: number; level: number }[] = [];
  const end = Date.now() + PATIENCE_MS;
  while (found.length < samples && Date.now() < end) {
    const { wave, at_s, number, rate } = await sample(page);
    const told = at_s === null ? null : toldTime(Float32Array.from(wave), rate);
    const beside_s = due ? due(number) : at_s;
    // The sample's end is what is heard now.
    if (told && beside_s !== null) found.push({ ahead_s: told.at_s + wave.length / 2 / rate - beside_s, level: told.level });
  }
  return { ahead_s: middle(found.map((it) => it.ahead_s)) ?? NaN, level: middle(found.map((it) => it.level)) ?? 0 };
}

/** What went through WebAudio last, and the element's time then, `null` where it does not play; and the number of the picture, of a `Reader`. */
function sample(page: Page | Frame): Promise<{ wave: number[]; at_s: number | null; number: number; rate: number }> {
  return page.evaluate(async (selector) => {
    const video = document.querySelector<Reader>(selector)! as Reader & { clock?: AnalyserNode };
    if (!video.clock) {
      const context = new AudioContext();
      await context.resume();
      video.clock = new AnalyserNode(context, { fftSize: 4096 });
      context.createMediaElementSource(video).connect(video.clock).connect(context.destination);
    }
    const wave = new Float32Array(video.clock.fftSize);
    video.clock.getFloatTimeDomainData(wave);
    const at_s = video.paused || video.seeking ? null : video.currentTime;
    return { wave: [...wave], at_s, number: video.number?.() ?? -1, rate: video.clock.context.sampleRate };
  }, VIDEO);
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

/** The picture over a seek bar, that of the page or the one within an element: its time and the mean colour of its upper half. */
export function drawn(page: Page, within = ''): Promise<{ at_s: number; colour: [number, number, number] } | null> {
  return page.evaluate((within) => {
    const thumb = document.querySelector<HTMLElement>(`${within} [data-testid=thumb]`);
    const picture = thumb?.querySelector('canvas');
    if (!thumb || !picture) return null;
    const { data } = picture.getContext('2d')!.getImageData(0, 0, picture.width, Math.floor(picture.height / 2));
    const mean = (channel: number): number => {
      let sum = 0;
      for (let at = channel; at < data.length; at += 4) sum += data[at]!;
      return (sum * 4) / data.length;
    };
    return { at_s: Number(thumb.dataset.at), colour: [mean(0), mean(1), mean(2)] };
  }, within);
}
