/**
 * A decoder that broke down begins anew: at the sync sample before the place, from which every decoder can start. (Firefox takes any picture of its own for one:
 * a jump behind such a picture ends so, and so does a film that begins there.)
 */
import type { Still, View } from './api';
import { baton, theVideo } from './session';
import { play } from './ui/playback';

export async function beginAnew(): Promise<void> {
  const video = theVideo();
  const [view, at_s, ran, now] = [baton.view, video.currentTime, !video.paused, performance.now()];
  if (!view || now - anewAt < ANEW_MS) return;
  anewAt = now;
  const still = await stillAt(view, at_s);
  if (baton.view !== view || !video.error) return;
  view.attach(video);
  // A jump before there is anything to jump in: the film begins there.
  if (still && still.at_s > 0) video.currentTime = still.at_s;
  if (ran) play();
}

/** The sync sample before a place. While a picture is waited for, which will not come, the engine does not look for another. */
async function stillAt(view: View, at_s: number): Promise<Still | null> {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const still = await view.still(at_s).catch(() => null);
    if (still || baton.view !== view) return still;
    await new Promise((next) => setTimeout(next, LOOK_MS));
  }
  return null;
}

let anewAt = -Infinity;
/** What breaks down again at once is beyond help. */
const ANEW_MS = 8000;
/** Longer than the engine waits for a picture: `HOLD_US` of client-wasm/src/worker/film.rs. */
const LOOKS_MAX = 12;
const LOOK_MS = 250;
