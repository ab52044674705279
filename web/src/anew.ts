/**
 * A decoder that broke down begins anew: at the sync sample before the place, from which every decoder can start. (Firefox takes any picture of its own for one:
 * a jump behind such a picture ends so, and so does a film that begins there.)
 */
import type { Still, View } from './api';
import { baton, theVideo } from './session';
import { play } from './ui/playback';

/** `false`: it broke down again behind the place where it had begun anew, and is beyond help. */
export async function beginAnew(): Promise<boolean> {
  const video = theVideo();
  const [view, at_s, ran, src] = [baton.view, video.currentTime, !video.paused, video.src];
  if (!view || !isOurs(video)) return false;
  const from_s = (await stillAt(view, at_s))?.at_s ?? 0;
  if (baton.view !== view || video.src !== src || !video.error) return true;
  if (src === anew.src && from_s === anew.from_s) return false;
  beginAt(view, video, from_s, ran);
  return true;
}

/** Whether the media engine plays here, not the browser by itself (raw.ts). */
const isOurs = (video: HTMLVideoElement): boolean => video.src.startsWith('blob:');

function beginAt(view: View, video: HTMLVideoElement, from_s: number, runs: boolean): void {
  view.attach(video, view.stats().file ?? undefined);
  anew = { src: video.src, from_s };
  // A jump before there is anything to jump in: the film begins there.
  if (from_s > 0) video.currentTime = from_s;
  if (runs) play();
}

/**
 * For Firefox, which says nothing of it when more of the film is in the player than that: its decoder gives up behind such a picture and goes on at the next
 * sync sample, with sound from the place and no picture until then. The film goes on where it has both: there, or at the sync sample before, whichever is nearer.
 */
export function watchJumps(): void {
  const video = theVideo();
  let seen_s = -1;
  let frame = 0;
  const see = (_: number, { mediaTime }: VideoFrameCallbackMetadata): void => {
    seen_s = mediaTime;
    frame = video.requestVideoFrameCallback(see);
  };
  let look = 0;
  const forget = (): void => {
    clearTimeout(look);
    video.cancelVideoFrameCallback(frame);
    seen_s = -1;
  };
  // Another film, whose beginning is not what was jumped to.
  video.addEventListener('emptied', forget);
  video.addEventListener('seeking', () => {
    forget();
    frame = video.requestVideoFrameCallback(see);
  });
  video.addEventListener('seeked', () => {
    clearTimeout(look);
    look = window.setTimeout(() => {
      video.cancelVideoFrameCallback(frame);
      if (isOurs(video) && !video.seeking && seen_s > video.currentTime + LATE_S) void land(video, seen_s);
    }, SETTLED_MS);
  });
}

async function land(video: HTMLVideoElement, next_s: number): Promise<void> {
  const { view } = baton;
  const { currentTime: at_s, src } = video;
  const still = await view?.still(at_s).catch(() => null);
  // A person was quicker, or the picture came.
  if (!view || baton.view !== view || video.src !== src || video.seeking || video.currentTime < at_s || video.currentTime > next_s - LATE_S) return;
  if (still && at_s - still.at_s < next_s - at_s) beginAt(view, video, still.at_s, !video.paused);
  else video.currentTime = next_s;
}

/** No picture is shown so much before its time, seconds. */
const LATE_S = 0.25;
/** After a jump the picture is there with the event or a little later; those of before it are gone by then, milliseconds. */
const SETTLED_MS = 500;

/** The sync sample before a place. While a picture is waited for, which will not come, the engine does not look for another. */
async function stillAt(view: View, at_s: number): Promise<Still | null> {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const still = await view.still(at_s).catch(() => null);
    if (still) return still;
    await new Promise((next) => setTimeout(next, LOOK_MS));
    if (baton.view !== view) return null;
  }
  return null;
}

/** What began anew last, and from where; nothing once a person went somewhere else. */
let anew = { src: '', from_s: 0 };
/** How far nobody goes by hand, seconds: more than what the engine steps over (`GAP_S` of client-wasm/src/page/player.rs). */
const STEP_S = 1;
let place_s = 0;
theVideo().addEventListener('timeupdate', () => void (theVideo().seeking || (place_s = theVideo().currentTime)));
theVideo().addEventListener('seeking', () => {
  const to_s = theVideo().currentTime;
  if (Math.abs(to_s - place_s) > STEP_S && Math.abs(to_s - anew.from_s) > STEP_S) anew.src = '';
});
/** Longer than the engine waits for a picture: `HOLD_US` of client-wasm/src/worker/film.rs. */
const LOOKS_MAX = 12;
const LOOK_MS = 250;
