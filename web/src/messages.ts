/** Every string that a person reads. One file, so that a translation is one file. */
import type { PeerStats, Phase, Problem, ProblemCode } from './api.ts';
import { bytes, delay, percent, rate, timeLeft } from './format.ts';

const plural = (n: number, one: string, many: string): string => `${n} ${n === 1 ? one : many}`;

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
    headline: ['Drop a film.', 'Pass the link.'],
    lead: 'Whoever opens the link watches at once, straight from this browser, and hands it to the next. Nothing is uploaded, and no server can read it.',
    drop: 'Drop films, files or folders here',
    dropNow: 'Let go to share it',
    choose: 'Choose files',
    chooseHint: 'or drop it anywhere on this page, or paste it',
    open: 'Got a link?',
    openPlaceholder: 'Paste it here to watch',
    openButton: 'Watch',
    openBad: 'There is no Baton link in that.',
    preparing: 'One moment…',
    chooseFolder: 'Choose a folder',
    emptyFolder: 'There is no file in that folder.',
    folderUnreadable: 'This browser could not read that folder.',
    linkLabel: 'The link to your stream',
    copy: 'Copy link',
    copied: 'Copied',
    copyByHand: 'Press Ctrl+C to copy',
    send: 'Share…',
    another: 'Share something else',
    stop: 'Stop sharing',
    replaceConfirm: (name: string) => `Share another file instead? Only you have all of ${name} so far; its link will stop working.`,
    stopConfirm: 'Stop sharing? Only you have all of it so far; the link will stop working.',
    onlyHere: 'This link says “localhost”, so it works on this computer only. Start the server with --lan to share it in your house.',
    qr: 'Scan to watch on a phone or TV',
    qrLocal: 'For this computer: a phone cannot open it',
    files: (name: string, count: number) => (count > 1 ? `${name} and ${plural(count - 1, 'more file', 'more files')}` : name),
    keepOpen: 'Keep this page open',
    hashing: (fraction: number) => `Reading it once for its checksum: ${percent(fraction)}`,
    hashWaiting: 'Its checksum appears here once it has been read.',
    blake3: 'BLAKE3',
    blake3Hint: 'Compare with b3sum to be sure that a download is complete and unchanged.',
    keep: 'Keep it alive on your own server',
    keepHint: 'Run this where it is always on: it verifies and passes on what you share, but cannot read it. You may close this page once it has everything.',
    copyCommand: 'Copy command',
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

  resume: {
    title: (name: string) => `You were sharing ${name}.`,
    goOn: 'Go on sharing',
    forget: 'Forget it',
    click: 'Its link works again with one click.',
    choose: (count: number) => `Its link works again once you choose the same ${count === 1 ? 'file' : 'files'}.`,
    again: (count: number) => (count === 1 ? 'Choose the same file again' : 'Choose the same files again'),
    changed: (name: string, count: number) =>
      count === 1
        ? `That is not the file that you shared as ${name}: its size is another. Choose that file, or share this one under a new link.`
        : `Those are not the files that you shared as ${name}: their number or sizes are others. Choose the same ones, or share these under a new link.`,
    gone: (name: string) => `${name} cannot be read: it was moved, renamed, deleted or unplugged.`,
    notAllowed: (name: string) => `Without your permission this page cannot read ${name}.`,
    elsewhere: (name: string) => `Another tab is sharing ${name} already.`,
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

  panels: {
    peers: 'Who is here',
    viewers: 'Who is watching',
    nobody: 'Nobody else is connected at the moment.',
    nobodyYet: 'Nobody yet. They appear here when they open the link.',
    rates: 'Speed',
    down: 'in',
    up: 'out',
    upNow: 'going out now',
    span: (seconds: number) => (seconds < 60 ? `the last ${seconds} seconds` : seconds < 120 ? 'the last minute' : 'the last two minutes'),
    offload: 'from other viewers',
    fromPeers: (fromViewers: string, all: string) => [fromViewers, ` of ${all}`] as const,
    startup: 'to the first picture',
    stalls: (n: number) => (n === 1 ? 'stall' : 'stalls'),
    here: 'here and verified',
    sent: 'passed on',
    copies: (n: number) => `${n.toFixed(1)} times its size`,
    watching: (n: number, before: boolean) =>
      (n === 0 ? (before ? 'nobody connected right now' : 'nobody connected yet') : plural(n, 'person connected', 'people connected')),
    rejected: (n: number) => `${plural(n, 'block was', 'blocks were')} wrong and thrown away.`,
    role: (peer: PeerStats): string => ROLES[peer.role],
    peerFacts: (peer: PeerStats): string[] => {
      const facts: string[] = [];
      if (peer.rtt_ms !== null) facts.push(`${Math.max(1, Math.round(peer.rtt_ms))} ms`);
      if (peer.region) facts.push(peer.region);
      if (peer.path === 'relay') facts.push('relayed');
      return facts;
    },
    peerHas: (peer: PeerStats) => (peer.complete >= 1 ? 'has it all' : `has ${percent(peer.complete)}`),
    gave: (received: number) => `${bytes(received)} to you`,
    took: (sent: number) => `${bytes(sent)} from you`,
  },

  confirmed: (count: number, by: number) => `${bytes(count)} of it confirmed by ${plural(by, 'other', 'others')}`,

  format: { delay, bytes, rate, percent },
};

const ROLES: Record<PeerStats['role'], string> = {
  publisher: 'Publisher',
  viewer: 'Viewer',
  // The lane beside the name says that this one has it all.
  seeder: 'Viewer',
  keeper: 'Keeper',
};
