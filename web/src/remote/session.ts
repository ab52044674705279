/** A telephone's remote control as signals: which television, what it does, and what is to be played there. */
import { signal } from '@preact/signals';
import { tvMessages } from '../messages-tv';
import { load, openPhone, say as sayTo, type PhoneDoor, type Way } from './door';
import { forgetTv, keepOwnName, ownName, rememberTv, type KnownTv } from './memory';
import { shortened, whole, type Command, type Output, type Picture, type RemoteTrack, type Report, type State } from './words';

/** What a page brings along to be played on the television. */
export interface Wanted {
  link: string;
  /** Where the film is here, at the moment when it is sent. */
  atMs: () => number;
  /** It plays over there now. */
  left: () => void;
}

export const tv = signal<KnownTv | null>(null);
export const state = signal<State | null>(null);
export const tracks = signal<RemoteTrack[]>([]);
export const linked = signal(false);
export const busy = signal(false);
/** Why there is no television: a sentence. */
export const failure = signal('');
/** The module did not come. */
export const broken = signal(false);
/** What is to be played there and has not been sent yet. */
export const wanted = signal<Wanted | null>(null);
/** The film of this page: it stays ours to send, however often the television stops or another one is paired. */
export const brought = signal<Wanted | null>(null);
/** Where the thumb is being dragged to, milliseconds. */
export const aim = signal<number | null>(null);
/** Where the film is over there: told, and reckoned from then on. */
export const position = signal(0);

const words = tvMessages.remote;

let door: PhoneDoor | null = null;
let told = 0;
let dragging = 0;
let clock = 0;

/** This page's film is to be played. */
export function bring(what: Wanted | null): void {
  wanted.value = brought.value = what;
}

export async function begin(): Promise<void> {
  try {
    await load();
    broken.value = false;
  } catch {
    broken.value = true;
  }
  if (linked.value) settle();
}

export function pair(way: Way): void {
  failure.value = '';
  start(way);
  if (!door) failure.value = words.bad;
}

export function connect(to: KnownTv): void {
  tv.value = to;
  start({ known: to.bytes });
}

/** What a camera read: the television's QR code, if it is one. */
export function scanned(text: string): boolean {
  const token = /\/tv#([A-Za-z0-9_-]{86})$/.exec(text);
  if (token) pair({ token: token[1]! });
  return token !== null;
}

export function say(command: Command): void {
  if (door) sayTo(door, command);
}

/** The thumb is being moved: where it is counts, until it is let go. */
export function drag(ms: number): void {
  dragging = performance.now();
  position.value = aim.value = ms;
}

export function seek(ms: number): void {
  const most = state.value && state.value.durationMs > 0 ? state.value.durationMs : Infinity;
  const atMs = Math.round(Math.max(0, Math.min(most, ms)));
  dragging = 0;
  position.value = atMs;
  aim.value = null;
  say({ seek: { atMs } });
}

/** What the television can show of a place; `null`: nothing, or it does not answer. One question after the other. */
export async function peek(ms: number): Promise<Picture | null> {
  await new Promise((soon) => setTimeout(soon, Math.max(0, asked + PEEK_MS - performance.now())));
  asked = performance.now();
  return new Promise((done) => {
    const give = (picture: Picture | null): void => {
      clearTimeout(late);
      if (pictured === mine) pictured = () => undefined;
      done(picture);
    };
    const mine = (picture: Picture): void => give(picture.jpeg.length > 0 ? picture : null);
    const late = window.setTimeout(give, ANSWER_MS, null);
    pictured = mine;
    say({ peek: { atMs: Math.round(ms) } });
  });
}

let pictured: (picture: Picture) => void = () => undefined;
let asked = 0;
/** As often as televisions need to answer (docs/remote.md). */
const PEEK_MS = 120;
/** A television of old that knows no such word never answers; a busy one takes its time. */
const ANSWER_MS = 8000;

export function playNow(): void {
  const what = wanted.value;
  if (!what) return;
  wanted.value = null;
  say({ open: { link: shortened(what.link), atMs: Math.round(what.atMs()) } });
  what.left();
}

export function playNext(): void {
  const what = wanted.value;
  if (!what) return;
  wanted.value = null;
  say({ queue: { link: shortened(what.link) } });
}

/** What was brought along plays at once where nothing else does; is there already; or waits for a choice. */
export function settle(): void {
  const now = state.value;
  if (!wanted.value || !now || !linked.value) return;
  if (now.link === '' || now.phase === 'ended' || now.phase === 'failed') playNow();
  else if (whole(now.link) === wanted.value.link) wanted.value = null;
}

/** Stops it over there. Its link, and where to go on: `resumeAt` tells the page that opens it. */
export function takeBack(): string {
  const now = state.value;
  if (!now || now.link === '') return '';
  const link = whole(now.link);
  try {
    sessionStorage.setItem('baton.resume', JSON.stringify({ link, atMs: position.value }));
  } catch {
    // It begins at its beginning.
  }
  say('stop');
  window.dispatchEvent(new Event('baton-resume'));
  return link;
}

export function rename(theirs: string, ours: string): void {
  if (theirs.trim() !== '') say({ name: { name: theirs.trim() } });
  if (ours.trim() !== '') {
    keepOwnName(ours);
    say({ greet: { label: ours.trim() } });
  }
}

/** Another television; this one stays known. */
export function leave(): void {
  end();
  tv.value = null;
}

export function forget(): void {
  say('forget');
  if (tv.value) forgetTv(tv.value);
  leave();
}

function start(way: Way): void {
  end();
  // Whoever chooses a television anew, maybe after the last one stopped, means this page's film.
  wanted.value ??= brought.value;
  busy.value = !tv.value;
  door = openPhone(way, ownName(), heard);
  if (!door) busy.value = false;
  clock = window.setInterval(reckon, 250);
}

function end(): void {
  // The last word leaves before the socket does: it was handed to the socket already.
  door?.close();
  door = null;
  clearInterval(clock);
  state.value = null;
  aim.value = null;
  tracks.value = [];
  linked.value = false;
  busy.value = false;
}

function reckon(): void {
  const now = state.value;
  if (!now || performance.now() - dragging < 3000) return;
  const runs = now.phase === 'playing' && linked.value ? performance.now() - told : 0;
  position.value = Math.min(now.durationMs || Infinity, Math.round(now.positionMs + runs));
}

function heard(output: Output): void {
  if ('paired' in output) {
    busy.value = false;
    tv.value = output.paired;
    rememberTv(output.paired);
  } else if ('failed' in output) failed(output.failed.why);
  else if ('linked' in output) {
    linked.value = output.linked.yes;
    if (linked.value) settle();
  } else if ('report' in output) reported(output.report.report);
}

function failed(why: Parameters<typeof words.failed>[0]): void {
  const known = tv.value;
  end();
  failure.value = known ? words.forgotten(known.name) : words.failed(why);
  tv.value = null;
}

function reported(report: Report): void {
  if (report === 'forgotten') {
    const known = tv.value;
    if (known) forgetTv(known);
    leave();
    failure.value = known ? words.forgotten(known.name) : '';
  } else if ('state' in report) {
    state.value = report.state;
    told = performance.now();
    dragging = 0;
    reckon();
    settle();
  } else if ('film' in report) tracks.value = report.film.tracks;
  else if ('picture' in report) pictured(report.picture);
  else if (tv.value) {
    tv.value = { ...tv.value, name: report.name.name };
    rememberTv(tv.value);
  }
}
