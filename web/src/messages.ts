/** Every string that a person reads. One file, so that a translation is one file. */
import type { Phase, Problem, ProblemCode } from './api.ts';
import { bytes, delay, percent, rate, timeLeft } from './format.ts';

export const plural = (n: number, one: string, many: string): string => `${n} ${n === 1 ? one : many}`;

export interface ProblemText {
  /** What is the matter. */
  title: string;
  /** What happens next, or what the person can do. */
  next: string;
}

const again = (retry: number | null): string =>
  retry === null ? '' : retry > 0 ? ` Trying again in ${retry} s.` : ' Trying again now.';

const looking = (retry: number | null): string =>
  retry === null ? '' : retry > 0 ? ` Looking again in ${retry} s.` : ' Looking again now.';

const PROBLEMS: Record<ProblemCode, (retry: number | null, begun: boolean) => ProblemText> = {
  'bad-link': () => ({
    title: 'This link has a typing error.',
    next: 'A character is wrong or missing. Copy the whole link once more and paste it here.',
  }),
  'wrong-version': () => ({
    title: 'This link was made by another version of Baton.',
    next: 'Reload the page to get the newest version. If that does not help, ask for a new link.',
  }),
  'nobody-here': (retry, begun) => ({
    title: begun ? 'Nobody who has the rest is here right now.' : 'Nobody who has this is here right now.',
    next: `Leave this page open: it ${begun ? 'goes on' : 'starts'} by itself as soon as somebody comes back.${looking(retry)}`,
  }),
  'all-paused': (_, begun) => ({
    title: `Whoever has ${begun ? 'the rest' : 'this'} is not passing it on at the moment.`,
    next: `They have paused that, or are busy with others. It ${begun ? 'goes on' : 'starts'} by itself as soon as they do.`,
  }),
  'server-lost': (retry) => ({
    title: 'The connection to the server is lost.',
    next: `Whoever is already connected stays connected.${again(retry) || ' We keep trying.'}`,
  }),
  'server-refused': (retry) => ({
    title: 'The server turned us away.',
    next: again(retry).trim() || 'Reload the page to try once more.',
  }),
  'unsupported-media': () => ({
    title: 'This browser cannot play this film.',
    next: 'Download it and play it with another program, or open the link in another browser.',
  }),
  'unsupported-browser': () => ({
    title: 'This browser cannot run Baton.',
    next: 'Open the same link in a current Chrome, Edge or Firefox.',
  }),
  'file-changed': () => ({
    title: 'The file has changed on your disk.',
    next: 'Sharing has stopped, so that nobody gets a mixture of two versions. Drop the file again for a new link.',
  }),
  'file-unreadable': () => ({
    title: 'The file cannot be read any more.',
    next: 'It was changed, moved, renamed or unplugged. Sharing has stopped; drop it again for a new link.',
  }),
  ended: () => ({
    title: 'The publisher has ended this.',
    next: 'Nothing more will come over this link.',
  }),
  expired: () => ({
    title: 'This link has expired.',
    next: 'Ask whoever sent it for a new one.',
  }),
  fraud: () => ({
    title: 'This link’s publisher gave out two different versions.',
    next: 'Playback has stopped, because neither can be trusted. Ask for a new link from somebody you trust.',
  }),
  'media-broken': () => ({
    title: 'This film is damaged and cannot be played further.',
    next: 'You can still download it, exactly as it was shared.',
  }),
  'no-sound': () => ({
    title: 'This browser cannot play the sound of this film.',
    next: 'It plays without. To hear it, open the link in another browser, or download it.',
  }),
  'engine-stopped': () => ({
    title: 'Baton has stopped working on this page.',
    next: 'Reload the page to start it again.',
  }),
};

/** What `Problem.detail` says as a code. Other details (codecs, places in a file) are shown as they are. */
const DETAILS: Record<string, string> = {
  'unknown-container': 'unknown container',
  'unknown-codecs': 'unknown codecs',
  encrypted: 'the film is encrypted',
  'append-refused': 'the browser refused a part of it',
  MediaSource: 'it has no MediaSource',
  dtsc: 'its sound is DTS, which no browser plays',
  A_DTS: 'its sound is DTS, which no browser plays',
  dts: 'its sound is DTS, which no browser plays',
  A_TRUEHD: 'its sound is TrueHD, which no browser plays',
  version: 'it speaks another version',
  clock: 'the clock of this computer is wrong',
  signature: 'it does not accept this link',
  'too-fast': 'too many messages',
  'address-connections': 'too many connections from this address',
  'address-swarms': 'too many different links from this address',
  'swarm-full': 'too many people have this link open',
  'server-full': 'it is full',
};

export const problemDetail = (detail: string): string => DETAILS[detail] ?? detail;

/** The sentences for a problem. `retry`: whole seconds until the next attempt, or null. `begun`: a part of it is here. */
export function problemText(problem: Problem, retry: number | null, begun = false): ProblemText {
  return PROBLEMS[problem.code](retry, begun);
}

/** Problems after which nothing comes by itself any more. */
export const FINAL: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  'bad-link',
  'wrong-version',
  'unsupported-media',
  'unsupported-browser',
  'file-changed',
  'file-unreadable',
  'ended',
  'expired',
  'fraud',
  'media-broken',
  'engine-stopped',
]);

/** What leaves the film playing. */
export const NOTES: ReadonlySet<ProblemCode> = new Set<ProblemCode>(['no-sound']);

const WATCH_STATUS: Record<Phase, string> = {
  starting: 'Starting…',
  connecting: 'Finding the film…',
  looking: 'Looking for somebody who has it…',
  fetching: 'Connected. Fetching the first picture…',
  playing: 'Playing',
  complete: 'You have all of it',
  sharing: 'Sharing',
  stopped: 'Stopped',
};

const FILE_STATUS: Partial<Record<Phase, string>> = {
  connecting: 'Finding the file…',
  fetching: 'Fetching',
  playing: 'Fetching',
};

/** Filled into the HTML by the build, apart from the others so that no script carries them. */
export const htmlWords: Record<string, string> = {
  description: 'Drop a film, pass the link, watch at once. From browser to browser; nothing is uploaded.',
  card: 'Drop a film, pass the link, watch at once.',
  stage: 'Stage',
  noscript: 'Baton runs in the browser and needs JavaScript.',
  old: 'This browser is too old for Baton: it needs one of 2020 or later, on a TV webOS 6 or Tizen 6.5.',
};

export const messages = {
  brand: 'Baton',
  tagline: 'Drop a film, pass the link',
  library: 'Library',

  share: {
    open: 'Got a link?',
    openPlaceholder: 'Paste it here to watch',
    openButton: 'Watch',
    openBad: 'There is no Baton link in that.',
    copy: 'Copy link',
    copied: 'Copied',
    copyByHand: 'Press Ctrl+C to copy',
    blake3: 'BLAKE3',
    stillSharing: (name: string) => `You are still sharing ${name}.`,
    back: 'Back to it',
  },

  safe: {
    alone: 'Only you have it so far.',
    onlyYou: (others: number) => `Only you have all of it (others ${percent(others)}).`,
    together: 'Safe to close: the others hold all of it between them.',
    safe: (people: number) =>
      people === 1 ? 'Safe to close: 1 person has it all.' : `Safe to close: ${people} people have it all.`,
    aloneNext: 'If you close this page now, the link stops working.',
    keptNext: 'If you close this page, the link rests until you open Baton in this browser again.',
    onlyYouNext: 'Keep this page open until somebody has it all.',
    pausedNext: 'Passing on is paused: until you switch it on again, nobody gets anything from you.',
    safeNext: (people: number) =>
      people === 1
        ? 'The link goes on working without you, as long as that person stays.'
        : 'The link goes on working without you, as long as one of them stays.',
  },

  watch: {
    untitled: 'A film',
    untitledFile: 'A file',
    status: (phase: Phase, playable: boolean): string =>
      (!playable && FILE_STATUS[phase]) || WATCH_STATUS[phase],
    buffering: 'Waiting for the next part…',
    slow: 'This takes longer than usual. The connection may be slow, or whoever has it may be far away.',
    passOn: 'Watching passes the film on to whoever watches next.',
    passOnFile: 'Fetching passes the file on to whoever comes next.',
    passedOn: (sent: number) => `Watching passes the film on: you have handed on ${bytes(sent)} so far.`,
    passedOnFile: (sent: number) => `Fetching passes the file on: you have handed on ${bytes(sent)} so far.`,
    passOnPaused: 'Passing on is paused. Others have to get it from somebody else.',
    passOnSwitch: 'Pass it on',
    copy: 'Copy link',
    reload: 'Reload',
    pasteAgain: 'Paste the link again',
    shareOwn: 'Share your own',
    playOnTv: 'Play on TV',
  },

  player: {
    label: 'Player',
    play: 'Play',
    pause: 'Pause',
    mute: 'Mute',
    unmute: 'Unmute',
    soundOn: 'Sound on',
    volume: 'Volume',
    seek: 'Position',
    fullscreen: 'Full screen',
    leaveFullscreen: 'Leave full screen',
    pip: 'Picture in picture',
    position: (now: string, all: string) => `${now} of ${all}`,
    openFull: 'Open in Baton',
    tracks: 'Sound and subtitles',
    sound: 'Sound',
    subtitles: 'Subtitles',
    noSubtitles: 'Off',
    track: (n: number) => `Track ${n}`,
    forced: 'foreign words only',
  },

  file: {
    left: (seconds: number): string => {
      const left = timeLeft(seconds);
      if (!left) return '';
      if (left.hours > 0) return `${left.hours} h ${left.minutes} min left`;
      return left.minutes > 0 ? `${left.minutes} min left` : `${left.seconds} s left`;
    },
    progress: (have: number, size: number) => `${bytes(have)} of ${bytes(size)}`,
    whole: (size: number) => `${bytes(size)}, all of it here and verified`,
  },

  files: {
    count: (n: number) => plural(n, 'file', 'files'),
    all: (n: number) => `Show all ${n}`,
  },

  format: { delay, bytes, rate, percent },
};
