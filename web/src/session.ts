/**
 * What this page is doing: one client, at most one share of its own and one view of somebody's link.
 *
 * Runs before the user interface is loaded: the link in the address bar is opened the moment the engine is there.
 */
import type { Client, Problem, Share, ShareOptions, View } from './api';
import { BootError, startClient, warmUp } from './boot';
import type { Kept } from './kept';
import { askSeat, type Seat } from './seat';
import type { Place } from './tabs';

export { workerOf } from './boot';

export interface Shared {
  name: string;
  size: number;
  count: number;
  inFolder: boolean;
  files: File[];
  /** Of what was dropped or picked, for a later page; empty where the browser gives none. */
  handles: FileSystemHandle[];
}

/** `window.baton`: for embedders, for the console and for tests. */
export const baton: { client: Client | null; share: Share | null; view: View | null } = {
  client: null,
  share: null,
  view: null,
};

declare global {
  interface Window {
    baton: typeof baton;
  }
}

/** Before a tab that watches looks for others with the same film, milliseconds. */
const LEAD_AFTER_MS = 1500;

export const session = {
  /** The link being watched, or '' on the share page. */
  link: '',
  /** What was dropped, from the drop on; its link follows. */
  shared: null as Shared | null,
  /** Something that was dropped is not shared, and why: a sentence. */
  notice: '',
  /** The engine did not start. */
  problem: null as Problem | null,
  embedded: document.documentElement.hasAttribute('data-embed'),
  /** This is a television's page: what it shows is not in its address. */
  tv: document.documentElement.hasAttribute('data-tv'),
};

let watcher: () => void = () => undefined;
let pending: { files: File[]; options: ShareOptions } | null = null;
let clientStarted: () => void = () => undefined;
const started = new Promise<void>((resolve) => (clientStarted = resolve));
let failures = 0;
/** Whether this tab is the one that is in the swarm of what is watched. */
let seat: Seat | null = null;
/** Among the tabs with the same stream, of what is watched and of what is shared. */
let watchers: Place | null = null;
let sharers: Place | null = null;
let broken: Problem | null = null;

/** The user interface asks to be told of every change of `session` and `baton`. */
export function onSessionChange(listener: () => void): void {
  watcher = listener;
  listener();
}

export function begin(): void {
  window.baton = baton;
  // Whatever comes now can speak for itself.
  document.getElementById('too-old')?.remove();
  warmUp(location.hash.length > 1 && !session.tv);
  followAddress();
  addEventListener('hashchange', followAddress);
  addEventListener('error', (event) => engineStopped(event.error));
  addEventListener('unhandledrejection', (event) => engineStopped(event.reason));
  void startEngine();
}

/** The engine's half in this page broke down: it never answers again. (Of the worker's half, `stats().problem` tells.) */
function engineStopped(error: unknown): void {
  if (typeof WebAssembly !== 'object' || !(error instanceof WebAssembly.RuntimeError)) return;
  broken = { code: 'engine-stopped', detail: error.message };
  session.problem = broken;
  watcher();
}

/** Publishes files under a new link; what was shared before stops. */
export function shareFiles(files: File[], title?: string, handles: FileSystemHandle[] = []): void {
  const first = files[0];
  if (!first) return;
  session.notice = '';
  const size = files.reduce((sum, file) => sum + file.size, 0);
  endShare();
  const inFolder = first.webkitRelativePath !== '';
  session.shared = { name: title ?? first.name, size, count: files.length, inFolder, files, handles };
  pending = { files, options: title === undefined ? { keep: true } : { keep: true, title } };
  sharePending();
  watcher();
}

/** Goes on with what an earlier page shared, under the same link. `changed`: these are other files. `busy`: something else is shared by now. */
export async function goOn(kept: Kept, files: File[], handles: FileSystemHandle[]): Promise<'goes on' | 'changed' | 'busy'> {
  await started;
  if (!baton.client || session.shared) return 'busy';
  try {
    baton.share = baton.client.share(files, { resume: kept.key, title: kept.name });
    preside(baton.share);
  } catch (error) {
    if (error instanceof RangeError) return 'changed';
    throw error;
  }
  const { name, size, count, inFolder } = kept;
  session.notice = '';
  session.shared = { name, size, count, inFolder, files, handles };
  watcher();
  return 'goes on';
}

/** Says why something is not shared. */
export function refuse(why: string): void {
  session.notice = why;
  watcher();
}

function endShare(): void {
  baton.share?.stop();
  baton.share = null;
  sharers?.leave();
  sharers = null;
}

export function stopSharing(): void {
  endShare();
  session.shared = null;
  pending = null;
  watcher();
}

/** Takes a pasted link to this page's address bar. False: that text holds no link. */
export function goToLink(text: string): boolean {
  const link = linkIn(text);
  if (link === null) return false;
  if (link.origin !== '' && link.origin !== location.origin) location.href = link.origin + '/#' + link.fragment;
  else location.hash = link.fragment;
  return true;
}

/** Finds a link, or a bare fragment, in what somebody pasted. */
export function linkIn(text: string): { origin: string; fragment: string } | null {
  const url = /(https?:\/\/[^\s/#]+)[^\s#]*#([A-Za-z0-9_-]{16,})/.exec(text);
  if (url) return { origin: url[1]!, fragment: url[2]! };
  const bare = /^\s*#?([A-Za-z0-9_-]{64,})\s*$/.exec(text);
  return bare ? { origin: '', fragment: bare[1]! } : null;
}

async function startEngine(): Promise<void> {
  try {
    baton.client = await startClient(session.tv ? { storage: 'memory', means: 'tv' } : {});
    session.problem = broken;
    clientStarted();
  } catch (error) {
    session.problem = bootProblem(error);
    if (session.problem.retry_s !== undefined) setTimeout(() => void startEngine(), session.problem.retry_s * 1000);
  }
  openView();
  sharePending();
  watcher();
}

function bootProblem(error: unknown): Problem {
  if (error instanceof BootError && error.code === 'server-lost') {
    failures += 1;
    // 2, 4, 8 … 30 s, spread so that a whole room does not come back in the same instant.
    const retry_s = Math.min(30, 2 ** failures) * (0.75 + Math.random() / 2);
    return { code: 'server-lost', detail: error.message, retry_s };
  }
  if (error instanceof BootError) return { code: error.code, detail: error.message };
  return { code: 'unsupported-browser', detail: error instanceof Error ? error.message : String(error) };
}

function followAddress(): void {
  const fragment = session.tv ? '' : location.hash.slice(1);
  openLink(fragment === '' ? '' : `${location.origin}/#${fragment}`);
}

/** Watches this link instead of what was watched; '': nothing. */
export function openLink(link: string): void {
  baton.view?.close();
  baton.view = null;
  watchers?.leave();
  watchers = null;
  seat?.release();
  // A television keeps nothing, and has one tab.
  seat = link === '' || session.tv ? null : askSeat(link.slice(link.indexOf('#') + 1));
  if (baton.client) session.problem = broken;
  session.link = link;
  // The style sheet shows the stage by this, before any other script is here.
  document.documentElement.dataset.view = session.link === '' ? 'share' : 'watch';
  openView();
  watcher();
}

function openView(): void {
  if (!baton.client || session.link === '' || baton.view) return;
  if (seat?.leads === null) return void seat.known.then(openView);
  const apart = seat?.leads === false;
  try {
    const view = (baton.view = (baton.client as Opening).open(session.link, apart));
    view.attach(theVideo());
    if (seat) sitDown(view, seat, apart);
    watcher();
  } catch (error) {
    session.problem = { code: 'bad-link', detail: String(error) };
  }
}

/** Nobody but the other tabs of this browser need know of it. */
interface Opening {
  open(url: string, apart: boolean): View;
}

function sitDown(view: View, at: Seat, apart: boolean): void {
  const sit = async (): Promise<void> => {
    if (baton.view !== view) return;
    const { sitDown } = await import('./tabs');
    if (baton.view === view) watchers = sitDown(view, at);
  };
  // Who has nobody but another tab looks for it at once; for whoever leads, the picture comes first.
  setTimeout(() => void sit().catch(() => (view as View & { lead(leads: boolean): void }).lead(true)), apart ? 0 : LEAD_AFTER_MS);
}

function preside(share: Share): void {
  const sit = async (): Promise<void> => {
    const { preside } = await import('./tabs');
    if (baton.share === share) sharers = preside(share);
  };
  // Without it, other tabs are peers like any others.
  sit().catch(() => undefined);
}

function sharePending(): void {
  if (!baton.client || !pending) return;
  try {
    baton.share = baton.client.share(pending.files, pending.options);
    preside(baton.share);
    session.problem = broken;
  } catch (error) {
    session.problem = { code: 'file-unreadable', detail: String(error) };
  }
  pending = null;
}

/** The one `<video>` of the document: it stands in the HTML and is never moved. */
export function theVideo(): HTMLVideoElement {
  return document.querySelector('video')!;
}
