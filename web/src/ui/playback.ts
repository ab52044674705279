/** The `<video>` as signals, and the rules by which it starts: with sound, else muted, else by a big button. */
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { theVideo } from '../session';

export type Range = [from: number, to: number];

/** How the film began: see DESIGN “Autoplay”. */
export type Autoplay = 'pending' | 'playing' | 'muted' | 'refused';

export const video = theVideo();
export const paused = signal(true);
export const time = signal(0);
export const duration = signal(0);
export const buffered = signal<Range[]>([]);
export const volume = signal(1);
export const muted = signal(false);
export const hasPicture = signal(false);
/** There is something to hear and nothing to see. */
export const soundOnly = signal(false);
/** Playback wants to go on and has nothing to show. */
export const waiting = signal(false);
export const autoplay = signal<Autoplay>('pending');
export const fullscreen = signal(false);

/** Follows the element for as long as a player is drawn. */
export function usePlayback(): void {
  useEffect(() => {
    forget();
    // Listeners of our own: the next player may mount before this one's are taken away.
    const onNews = (): void => read();
    const onStart = (): void => start();
    const onPause = (): void => obeyPause();
    const onFullscreen = (): void => readFullscreen();
    video.addEventListener('pause', onPause);
    for (const name of NEWS) video.addEventListener(name, onNews);
    for (const name of STARTS) video.addEventListener(name, onStart);
    for (const name of FULLSCREEN) document.addEventListener(name, onFullscreen);
    if (video.readyState >= HTMLMediaElement.HAVE_METADATA) start();
    read();
    return () => {
      video.removeEventListener('pause', onPause);
      for (const name of NEWS) video.removeEventListener(name, onNews);
      for (const name of STARTS) video.removeEventListener(name, onStart);
      for (const name of FULLSCREEN) document.removeEventListener(name, onFullscreen);
    };
  }, []);
}

export function togglePlay(): void {
  if (video.paused || video.ended) play();
  else video.pause();
}

export function play(): void {
  autoplay.value = autoplay.value === 'muted' ? 'muted' : 'playing';
  video.play().catch(() => undefined);
}

export function seekTo(seconds: number): void {
  const end = duration.value || Infinity;
  video.currentTime = Math.max(0, Math.min(end, seconds));
  time.value = video.currentTime;
}

export function setMuted(value: boolean): void {
  video.muted = value;
  if (!value && video.volume === 0) video.volume = 0.5;
  if (autoplay.value === 'muted') autoplay.value = 'playing';
}

export function setVolume(value: number): void {
  video.volume = Math.max(0, Math.min(1, value));
  setMuted(video.volume === 0);
}

/** Old engines and iOS have these under other names. */
interface OldFullscreen {
  webkitRequestFullscreen?: () => void;
  webkitEnterFullscreen?: () => void;
  webkitExitFullscreen?: () => void;
  webkitFullscreenElement?: Element | null;
}

export function toggleFullscreen(): void {
  const stage = document.getElementById('stage')! as HTMLElement & OldFullscreen;
  const page = document as Document & OldFullscreen;
  // The document itself is asked: the event that tells of a change comes after the change.
  if (isFullscreen()) {
    if (page.exitFullscreen) void page.exitFullscreen();
    else page.webkitExitFullscreen?.();
  } else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => undefined);
  else if (stage.webkitRequestFullscreen) stage.webkitRequestFullscreen();
  else (video as OldFullscreen).webkitEnterFullscreen?.();
}

export const canPip = (): boolean => document.pictureInPictureEnabled === true && !video.disablePictureInPicture;

export function togglePip(): void {
  const done = document.pictureInPictureElement ? document.exitPictureInPicture() : video.requestPictureInPicture();
  done.catch(() => undefined);
}

function read(): void {
  paused.value = video.paused || video.ended;
  time.value = video.currentTime;
  duration.value = isFinite(video.duration) ? video.duration : 0;
  volume.value = video.volume;
  muted.value = video.muted;
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
    hasPicture.value = true;
    soundOnly.value = video.videoWidth === 0;
  }
  waiting.value = !video.paused && !video.ended && hasPicture.value && video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
  const ranges: Range[] = [];
  // One look: each reading of `buffered` may find it changed.
  const now = video.buffered;
  for (let i = 0; i < now.length; i++) ranges.push([now.start(i), now.end(i)]);
  if (JSON.stringify(ranges) !== JSON.stringify(buffered.value)) buffered.value = ranges;
}

function isFullscreen(): boolean {
  const page = document as Document & OldFullscreen;
  return (page.fullscreenElement ?? page.webkitFullscreenElement ?? null) !== null;
}

function readFullscreen(): void {
  fullscreen.value = isFullscreen();
}

/** A new film: what we muted for the last one may sound again. */
export function forget(): void {
  if (autoplay.value === 'muted') video.muted = false;
  autoplay.value = 'pending';
  hasPicture.value = false;
  soundOnly.value = false;
  waiting.value = false;
  buffered.value = [];
  duration.value = 0;
  time.value = 0;
}

function start(): void {
  if (autoplay.value !== 'pending' || trying) return;
  trying = true;
  void tryToPlay().then((outcome) => {
    trying = false;
    if (outcome !== 'pending') autoplay.value = outcome;
  });
}

let trying = false;

/** Whoever pauses a film that has not begun to run yet means it. An exchanged source stops it without this event. */
function obeyPause(): void {
  if (autoplay.value === 'pending') autoplay.value = 'playing';
}

async function tryToPlay(): Promise<Autoplay> {
  try {
    await video.play();
    return 'playing';
  } catch (error) {
    if (!refused(error)) return 'pending'; // the source changed under it: its own metadata come
  }
  video.muted = true;
  try {
    await video.play();
    return 'muted';
  } catch (error) {
    if (!refused(error)) return 'pending';
    video.muted = false;
    return 'refused';
  }
}

const NEWS = [
  'play', 'pause', 'playing', 'waiting', 'ended', 'timeupdate', 'seeking', 'seeked', 'durationchange', 'progress',
  'volumechange', 'loadeddata', 'canplay', 'emptied',
]; // prettier-ignore
const FULLSCREEN = ['fullscreenchange', 'webkitfullscreenchange'];
/** The first is in time; the second is for when the source was exchanged in between. */
const STARTS = ['loadedmetadata', 'canplay'];

const refused = (error: unknown): boolean => error instanceof DOMException && error.name === 'NotAllowedError';
