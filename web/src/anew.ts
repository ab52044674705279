/**
 * A decoder that broke down begins anew: at the sync sample before the place, from which every decoder can start. (Firefox takes any picture of its own for one:
 * a jump behind such a picture ends so, and so does a film that begins there.) What breaks it again is stepped over.
 */
import type { Still, Track, View } from './api';
import { baton, theVideo } from './session';
import { buffered, play } from './ui/playback';

/**
 * `ran`: it was not paused. `played`: something of it was seen or heard. `'begun'`: it plays, or is about to. `'over'`: something else does. `'no'`: it is not
 * ours, nothing of it was ever played, or what is left of it breaks every decoder.
 */
export async function beginAnew(ran: boolean, played: boolean): Promise<'begun' | 'over' | 'no'> {
  const video = theVideo();
  const [view, broke_s, src, wasPaused] = [baton.view, video.currentTime, video.src, video.paused];
  if (!view || !isOurs(video)) return 'no';
  let before = src === anew.src ? anew : null;
  const all_s = Number.isFinite(video.duration) ? video.duration : (before?.all_s ?? 0);
  const isNear = (place_s: number): boolean => Math.abs(broke_s - place_s) < NEAR_S;
  // At the same place, or at once behind what was stepped over.
  let again = before !== null && (isNear(before.broke_s) || (before.step_s > 0 && broke_s < before.from_s + NEAR_S));
  const sync_s = again ? before!.sync_s : ((await stillAt(view, broke_s))?.at_s ?? broke_s);
  if (baton.view !== view || video.src !== src || !(video.error || src === lost)) return 'over';
  // A person went somewhere else meanwhile, or paused.
  const moved = !isNear(video.currentTime);
  if (moved) before = null;
  const runs = ran && (wasPaused || !video.paused);
  again = before !== null && (again || sync_s === before.sync_s);
  const step_s = again ? Math.max(FIRST_STEP_S, 2 * before!.step_s) : 0;
  const from_s = moved ? video.currentTime : again ? broke_s + step_s : sync_s;
  if (again && (!played || from_s >= all_s)) return 'no';
  beginAt(view, video, from_s, runs);
  anew = { src: video.src, broke_s: moved ? from_s : broke_s, sync_s, step_s, from_s, all_s };
  watchPlace(view, video);
  return 'begun';
}

/** Firefox says nothing where no sync sample from a place on can be decoded: it seeks for ever, and may not even take what it is given. */
function watchPlace(view: View, video: HTMLVideoElement): void {
  const { src } = video;
  let dry = 0;
  clearInterval(placeLook);
  const look = (placeLook = window.setInterval(() => {
    const at_s = video.currentTime;
    const isThere = !video.seeking && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    const over = video.src !== src || isThere || video.error !== null;
    const isHere = view.stats().complete || buffered.value.some(([from, to]) => from <= at_s && at_s < to);
    dry = isHere ? dry + 1 : 0;
    if (!over && dry < LOST_LOOKS) return;
    clearInterval(look);
    if (over) return;
    lost = src;
    video.dispatchEvent(new Event('error'));
  }, LOOK_MS));
}

let placeLook = 0;
/** What seeks for ever. */
let lost = '';

/** Whether the media engine plays here, not the browser by itself (raw.ts). */
const isOurs = (video: HTMLVideoElement): boolean => video.src.startsWith('blob:');

function beginAt(view: View, video: HTMLVideoElement, from_s: number, runs: boolean): void {
  // One that broke before it was known has the choice of the one before.
  if (choosing !== video.src) chosen = view.film()?.tracks ?? [];
  view.attach(video, view.stats().file ?? undefined);
  choosing = video.src;
  // A jump before there is anything to jump in: the film begins there.
  if (from_s > 0) video.currentTime = from_s;
  if (runs) play();
  void chooseAgain(view, video.src);
}

/** What was listened to and read before. */
let chosen: Track[] = [];
/** For which it has yet to be chosen again. */
let choosing = '';

async function chooseAgain(view: View, src: string): Promise<void> {
  for (let look = 0; look < LOOKS_MAX && chosen.length > 0; look++) {
    const tracks = view.film()?.tracks ?? [];
    if (baton.view !== view || theVideo().src !== src) return;
    const of = (kind: string) => (it: Track): boolean => it.kind === kind && it.selected;
    const isKnown = tracks.some(of('audio')) || (tracks.length > 0 && !chosen.some(of('audio')));
    if (isKnown) {
      for (const kind of ['audio', 'subtitles'] as const) {
        const id = chosen.find(of(kind))?.id ?? null;
        if (id !== (tracks.find(of(kind))?.id ?? null)) view.select(kind, id);
      }
      break;
    }
    await new Promise((next) => setTimeout(next, LOOK_MS));
  }
  if (choosing === src) choosing = '';
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
    if (baton.view && isOurs(video)) watchPlace(baton.view, video);
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
  const [still, next] = view ? await Promise.all([view.still(at_s), view.still(next_s + SAME_S)]).catch(() => []) : [];
  // A person was quicker, or the picture came.
  if (!view || baton.view !== view || video.src !== src || video.seeking || video.currentTime < at_s || video.currentTime > next_s - LATE_S) return;
  // A late picture of before the jump: it goes on at sync samples only.
  if (!next || Math.abs(next.at_s - next_s) > SAME_S) return;
  // What lies between broke a decoder already.
  const isStep = src === anew.src && anew.step_s > 0;
  if (!isStep && still && at_s - still.at_s < next_s - at_s) beginAt(view, video, still.at_s, !video.paused);
  else video.currentTime = next_s;
}

/** No picture is shown so much before its time, seconds. */
const LATE_S = 0.25;
/** Two times of one picture differ by less, seconds. */
const SAME_S = 0.01;
/** After a jump the picture is there with the event or a little later; those of before it are gone by then, milliseconds. */
const SETTLED_MS = 500;

/** The sync sample before a place. While a picture is waited for, which will not come, the engine does not look for another. */
async function stillAt(view: View, at_s: number): Promise<Still | null> {
  const film = view.film();
  if (film && !film.tracks.some((it) => it.kind === 'video')) return null;
  for (let look = 0; look < LOOKS_MAX; look++) {
    const still = await view.still(at_s).catch(() => null);
    if (still) return still;
    await new Promise((next) => setTimeout(next, LOOK_MS));
    if (baton.view !== view) return null;
  }
  return null;
}

/** What began anew last: where it had broken, which sync sample that follows, and how far behind it begins; nothing once a person went somewhere else. */
let anew = { src: '', broke_s: 0, sync_s: 0, step_s: 0, from_s: 0, all_s: 0 };
/** What is stepped over first, seconds; then twice as much, and so on: the next sync sample is not known. */
const FIRST_STEP_S = 2;
/** How far nobody goes by hand, seconds: more than what the engine steps over (`GAP_S` of client-wasm/src/page/player.rs). */
const NEAR_S = 1;
let place_s = 0;
theVideo().addEventListener('timeupdate', () => void (theVideo().seeking || (place_s = theVideo().currentTime)));
theVideo().addEventListener('seeking', () => {
  const to_s = theVideo().currentTime;
  if (Math.abs(to_s - place_s) > NEAR_S && Math.abs(to_s - anew.from_s) > NEAR_S) anew.src = '';
});
/** Longer than the engine waits for a picture: `HOLD_US` of client-wasm/src/worker/film.rs. */
const LOOKS_MAX = 12;
const LOOK_MS = 250;
/** Ten seconds. */
const LOST_LOOKS = 40;
