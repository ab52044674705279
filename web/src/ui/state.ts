/** What the pages draw, as signals: snapshots of the session, the share and the view. */
import { computed, effect, signal } from '@preact/signals';
import type { Film, Meta, Problem, ShareStats, Stats, Track, View, ViewStats } from '../api';
import type { Raw } from '../raw';
import { baton, onSessionChange, session, theVideo } from '../session';

export const link = signal('');
export const shared = signal(session.shared);
export const notice = signal('');
export const shareUrl = signal('');
/** A later page can go on with what is shared. */
export const isKept = signal(false);
export const shareStats = signal<ShareStats | null>(null);
export const viewStats = signal<ViewStats | null>(null);
export const meta = signal<Meta | null>(null);
export const film = signal<Film | null>(null);
/** What the file says of itself (about.tsx); `cover`: an address, or ''. */
export const said = signal<{ title: string | null; artist: string | null; album: string | null; cover: string } | null>(null);
export const bootProblem = signal<Problem | null>(null);

/** Nothing but the file card: a stream that no browser plays. */
export const isFile = computed(() => meta.value !== null && !meta.value.playable && problemCode() !== 'unsupported-media');

/** Whether the browser has the film as it is (raw.ts), because the media engine does not play it; or had it, and did not want it. */
const raw = signal<'no' | 'given' | 'refused'>('no');
let rawNow: Raw | null = null;

/** Of this page's stream: what went wrong, if anything. */
export const problem = computed<Problem | null>(() => {
  if (bootProblem.value) return bootProblem.value;
  if (link.value === '') return shareStats.value?.problem ?? null;
  const stats = viewStats.value;
  // Without a size it is not the film that is broken, but what says which there are.
  const mayPlay = raw.value !== 'refused' && stats !== null && stats.size > 0 && OF_FILM.has(stats.problem?.code);
  return mayPlay ? null : (stats?.problem ?? null);
});

/** What the browser itself may know better. */
const OF_FILM = new Set<string | undefined>(['unsupported-media', 'media-broken']);

const problemCode = (): string | undefined => viewStats.value?.problem?.code;

/** Subtitle files beside the film (beside.ts). Their ids are far from those of the film's own tracks. */
export interface Beside {
  tracks(): Track[];
  choose(id: number | null): void;
  clear(): void;
}
export const BESIDE = 1e6;
let beside: Beside | null = null;

/** Speeds once a second, newest last, for the plot. */
export interface Sample {
  down: number;
  up: number;
}
export const samples = signal<Sample[]>([]);
export const SAMPLES_KEPT = 120;

export function startState(): void {
  let view = baton.view;
  let share = baton.share;
  onSessionChange(() => {
    link.value = session.link;
    shared.value = session.shared;
    bootProblem.value = session.problem;
    notice.value = session.notice;
    if (baton.view !== view || (view && !view.onchange)) {
      view = baton.view;
      adoptView();
    }
    if (baton.share !== share || (share && !share.onchange)) {
      share = baton.share;
      adoptShare();
    }
  });
  const video = theVideo();
  // Chromium pauses what broke before it says so.
  let ran = !video.paused;
  video.addEventListener('play', () => (ran = true));
  video.addEventListener('pause', () => (ran &&= video.error !== null));
  video.addEventListener('timeupdate', () => {
    if (!video.paused && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) played = video.src;
  });
  // Before the engine says so: what can be mended is nobody else's.
  video.addEventListener('error', () => void mend(ran), { capture: true });
  // Firefox alone has this word, and needs it.
  if ('mozHasAudio' in video) video.addEventListener('playing', () => void import('../anew').then((part) => part.watchJumps()).catch(() => undefined), { once: true });
  setInterval(sample, 1000);
  effect(() => {
    // The style sheet lays the page out by this. `lost`: no film to show yet, and a reason.
    const lost = meta.value === null && problem.value !== null;
    document.documentElement.dataset.view =
      link.value === '' ? 'share' : isFile.value ? 'file' : lost ? 'lost' : 'watch';
  });
}

function adoptView(): void {
  const view = baton.view;
  beside?.clear();
  beside = meta.value = null;
  endRaw();
  film.value = null;
  filmFile = null;
  samples.value = [];
  viewStats.value = view ? view.stats() : null;
  if (!view) return;
  view.onchange = () => {
    if (baton.view !== view) return;
    viewStats.value = view.stats();
    readFilm();
    if (OF_FILM.has(problemCode())) tryRaw(view);
    else endRaw();
  };
  view.meta.then(
    (found) => {
      if (baton.view !== view) return;
      meta.value = found;
      if (OF_FILM.has(problemCode())) tryRaw(view);
      if (found.folder) {
        void import('./beside').then(({ besides }) => {
          if (baton.view === view) beside = besides(view, found, readFilm);
        });
      }
    },
    () => undefined, // stats().problem says why
  );
}

/** A decoder that broke down begins anew; what is beyond that may play as it is. */
async function mend(ran: boolean): Promise<void> {
  const view = baton.view;
  mending = view;
  const had = hasPlayed();
  const mended = await import('../anew').then((part) => part.beginAnew(ran, had)).catch(() => 'no');
  if (mending === view) mending = null;
  if (mended === 'begun' && had) played = theVideo().src;
  if (mended === 'no' && view && baton.view === view && OF_FILM.has(problemCode())) tryRaw(view);
}

let mending: View | null = null;
/** The address under which something was seen or heard, of this film also when it began anew. */
let played = '';
const hasPlayed = (): boolean => played !== '' && played === theVideo().src;

/** Before the media engine's no is the last word: perhaps the browser plays the file as it is. */
function tryRaw(view: View): void {
  const files = meta.value?.files ?? [];
  const file = viewStats.value?.file ?? files.findIndex((it) => it.playable);
  const video = theVideo();
  if (mending === view || raw.value !== 'no' || !files[file]) return;
  // What broke in its middle is not begun again.
  raw.value = !hasPlayed() && video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA ? 'given' : 'refused';
  if (raw.value === 'refused') return;
  const refused = (): void => void (baton.view === view && (raw.value = 'refused'));
  import('../raw')
    .then(({ playRaw }) => {
      if (baton.view === view && raw.value === 'given') rawNow = playRaw(view, file, files[file]!, video, refused);
    })
    .catch(refused);
}

/** Another film, or none. */
function endRaw(): void {
  rawNow?.end();
  rawNow = null;
  raw.value = 'no';
}

let filmFile: number | null = null;

/** The film's tracks and chapters, anew when they changed: the engine hands out one object again and again. */
export function readFilm(): void {
  let now = baton.view?.film() ?? null;
  const stats = viewStats.value;
  // It begins anew: what there is to choose stays, and so does the menu in a person's hand.
  if (!now && stats && stats.file === filmFile && !stats.problem) return;
  filmFile = now && stats ? stats.file : null;
  if (now && beside) now = { ...now, tracks: [...now.tracks, ...beside.tracks()] };
  if (JSON.stringify(now) !== JSON.stringify(film.value)) film.value = now && (JSON.parse(JSON.stringify(now)) as Film);
}

/** Another sound track, or other subtitles. */
export function choose(kind: Track['kind'], id: number | null): void {
  const isBeside = id !== null && id >= BESIDE;
  if (kind === 'subtitles') beside?.choose(isBeside ? id : null);
  baton.view?.select(kind as 'subtitles', isBeside ? null : id);
  readFilm();
}

function adoptShare(): void {
  const share = baton.share;
  samples.value = [];
  shareUrl.value = share ? share.url : '';
  shareStats.value = share ? share.stats() : null;
  if (!share) return;
  share.onchange = () => {
    if (baton.share === share) shareStats.value = share.stats();
  };
}

function sample(): void {
  const stream = baton.view ?? baton.share;
  if (!stream) return;
  const now: Stats = stream.stats();
  if (baton.view) viewStats.value = now as ViewStats;
  else shareStats.value = now as ShareStats;
  samples.value = [...samples.value, { down: now.down_bps, up: now.up_bps }].slice(-SAMPLES_KEPT);
}
