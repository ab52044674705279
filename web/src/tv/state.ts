/** What the television's page is doing, as signals, and what telephones ask of it. */
import { computed, effect, signal } from '@preact/signals';
import { answer, load, openTv, report, type TvDoor } from '../remote/door';
import { savedTv, saveTv } from '../remote/memory';
import { shortened, whole, type Command, type NoCode, type Output, type Phase, type PhoneSeen, type State } from '../remote/words';
import { tvMessages } from '../messages-tv';
import { FINAL } from '../messages';
import { baton, openLink } from '../session';
import { duration, hasPicture, muted, paused, play, seekTo, setMuted, time, video, volume, waiting } from '../ui/playback';
import { choose, film, link, meta, problem, viewStats } from '../ui/state';
import { trackName } from '../ui/tracks';
import { beginSnaps, snapAt } from './snaps';

export type Screen = 'home' | 'link' | 'settings' | 'film';

export const screen = signal<Screen>('home');
export const code = signal<{ text: string; token: string } | null>(null);
export const noCode = signal<NoCode | null>(null);
export const phones = signal<PhoneSeen[]>([]);
export const name = signal(tvMessages.name);
export const queue = signal<string[]>([]);
/** The telephone that sent what plays. */
export const sender = signal('');
/** What was left in the middle. */
export const left = signal<{ link: string; title: string; atMs: number } | null>(null);

/** Links that wait. A night of short films. */
const QUEUE_MAX = 20;
/** A jump, for whoever reckons where the film is: further off than this, milliseconds. */
const JUMP_MS = 1000;

let door: TvDoor | null = null;

/** Begins to listen to telephones. Resolves when the code is on its way. */
export async function listen(): Promise<void> {
  await load();
  door = openTv(savedTv(), tvMessages.name, heard);
  name.value = door.machine.name;
  // The code is there while nothing plays, and only then.
  effect(() => {
    if (link.value === '') askForCode();
    else door?.do((it) => it.hideCode());
    if (link.value !== '') code.value = null;
  });
  effect(tellState);
  effect(() => {
    if (viewStats.value) beginThere();
  });
  beginSnaps();
  effect(tellFilm);
  video.addEventListener('ended', () => queue.value.length > 0 && next());
}

/** A person wants a code: the tries begin anew. */
export function askForCode(): void {
  noCode.value = null;
  door?.do((it) => it.showCode(Date.now()));
}

export function rename(to: string): void {
  door?.do((it) => it.rename(to));
}

export const forget = (id: string): void => void door?.do((it) => it.forget(id));

export function open(url: string, atMs = 0): void {
  left.value = null;
  from_s = atMs > 1000 ? atMs / 1000 : 0;
  openLink(url);
  screen.value = 'film';
  beginThere();
}

/** Where the film that is being opened begins, seconds. */
let from_s = 0;

/** A jump before there is anything to jump in: the film begins there. While the engine is still loading there is no film to begin yet. */
function beginThere(): void {
  if (from_s === 0 || !baton.view) return;
  video.currentTime = from_s;
  from_s = 0;
}

/** No film any more. What was under way can be taken up again. */
export function stop(): void {
  if (link.value !== '' && meta.value && !video.ended && hasPicture.value) {
    left.value = { link: link.value, title: meta.value.title, atMs: Math.round(video.currentTime * 1000) };
  }
  sender.value = '';
  openLink('');
  screen.value = 'home';
}

export function next(): void {
  const [first, ...rest] = queue.value;
  queue.value = rest;
  if (first !== undefined) open(first);
}

function heard(output: Output): void {
  if ('code' in output) {
    code.value = output.code;
    noCode.value = null;
  } else if ('noCode' in output) {
    code.value = null;
    noCode.value = output.noCode.why;
  } else if ('save' in output) {
    saveTv(output.save.bytes);
    if (door) name.value = door.machine.name;
  } else if ('phones' in output) phones.value = output.phones.list;
  else if ('command' in output) obey(output.command.command, output.command.phone);
}

function obey(command: Command, phone: string): void {
  if (command === 'play') play();
  else if (command === 'pause') video.pause();
  else if (command === 'next') next();
  else if (command === 'stop') stop();
  else if (command === 'look') say();
  else if (typeof command === 'string') return;
  else if ('peek' in command) show(command.peek.atMs, phone);
  else if ('open' in command) {
    const by = phones.value.find((it) => it.id === phone);
    open(whole(command.open.link), command.open.atMs);
    sender.value = by ? by.label : '';
  } else if ('queue' in command) {
    if (link.value === '') open(whole(command.queue.link));
    else queue.value = [...queue.value, whole(command.queue.link)].slice(0, QUEUE_MAX);
  } else if ('seek' in command) {
    seekTo(command.seek.atMs / 1000);
    say();
  } else if ('volume' in command) {
    video.volume = Math.min(1, command.volume.permille / 1000);
    setMuted(command.volume.muted);
  } else if ('sound' in command) choose('audio', command.sound.id);
  else if ('subtitles' in command) choose('subtitles', command.subtitles.id);
}

/** A small picture for a telephone that seeks; whoever asks too often is not heard. */
function show(atMs: number, phone: string): void {
  const now = performance.now();
  if (now > second + 1000) [second, shown] = [now, 0];
  if (!door || shown >= SHOWN_MAX || now - (shownAt.get(phone) ?? -SHOW_MS) < SHOW_MS) return;
  shown += 1;
  shownAt.set(phone, now);
  answer(door, phone, { picture: snapAt(atMs) ?? { atMs, jpeg: new Uint8Array(0) } });
}

let second = 0;
/** Pictures in this second. */
let shown = 0;
/** By telephone: only those that are paired are heard. */
const shownAt = new Map<string, number>();
/** Pictures for one telephone, at most so often; each has 4 KB. Telephones ask a little less often (remote/session.ts). */
const SHOW_MS = 50;
/** For all in a second: the server throws out who says more than a hundred things (docs/signalling.md). */
const SHOWN_MAX = 40;

const phase = computed<Phase>(() => {
  if (link.value === '') return 'idle';
  const trouble = problem.value;
  if (!hasPicture.value) return trouble && FINAL.has(trouble.code) ? 'failed' : 'loading';
  if (waiting.value) return 'waiting';
  if (!paused.value) return 'playing';
  return video.ended ? 'ended' : 'paused';
});

/** What was said last, and when. */
let said: { state: State; at: number } | null = null;

function now(): State {
  return {
    link: shortened(link.value),
    title: meta.value ? meta.value.title : '',
    phase: phase.value,
    positionMs: Math.round(time.value * 1000),
    durationMs: Math.round((duration.value || (meta.value && meta.value.duration_s) || 0) * 1000),
    volumePermille: Math.round(volume.value * 1000),
    muted: muted.value,
    queued: queue.value.length,
    problem: problem.value ? problem.value.code : '',
  };
}

function say(): void {
  const state = { ...now(), positionMs: Math.round(video.currentTime * 1000) };
  said = { state, at: performance.now() };
  if (door) report(door, { state });
}

/** Tells how things stand when that is not what anybody would reckon from what was said last. */
function tellState(): void {
  const state = now();
  if (said) {
    const runs = said.state.phase === 'playing' ? performance.now() - said.at : 0;
    const reckoned = said.state.positionMs + runs;
    const same = JSON.stringify({ ...state, positionMs: 0 }) === JSON.stringify({ ...said.state, positionMs: 0 });
    if (same && Math.abs(state.positionMs - reckoned) < JUMP_MS) return;
  }
  say();
}

function tellFilm(): void {
  const of = (kind: string) => (film.value ? film.value.tracks : []).filter((it) => it.kind === kind && it.playable);
  const tracks = ['audio', 'subtitles'].flatMap((kind) =>
    of(kind).map((it, i) => ({ id: it.id, subtitles: kind === 'subtitles', label: trackName(it, i), selected: it.selected })),
  );
  if (door) report(door, { film: { tracks } });
}
