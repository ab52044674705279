/** Every string of what this browser keeps and saves: apart from the others, because no page needs them for its first picture. */
import { bytes, percent, rate, timeLeft } from './format.ts';

export const saveMessages = {
  download: 'Download',
  fetching: (fraction: number) => `Fetching ${percent(fraction)}`,
  saving: (fraction: number) => `Saving ${percent(fraction)}`,
  saved: 'Saved',
  title: 'Downloads',
  pause: 'Pause',
  paused: 'paused',
  goOn: 'Go on',
  cancel: 'Cancel',
  forget: 'Forget it',
  of: (written: number, size: number) => `${bytes(written)} of ${bytes(size)}`,
  rate,
  left: (seconds: number): string => {
    const left = timeLeft(seconds);
    if (!left) return '';
    if (left.hours > 0) return `${left.hours} h ${left.minutes} min left`;
    return left.minutes > 0 ? `${left.minutes} min left` : `${left.seconds} s left`;
  },
  pausedNote: 'Nothing is written at the moment. What comes meanwhile stays in this browser.',
  matches: 'Saved, and the same as the publisher’s, byte for byte. BLAKE3:',
  unchecked: 'Saved. The publisher has not read all of it yet, so it is not yet compared with theirs. BLAKE3:',
  zipSaved: 'Saved. Each file was compared with the publisher’s checksum where that is known.',
  broken: (name: string) => `This page was saving ${name} when it was closed. What is here is not fetched again.`,
  failed: {
    'broke-off': 'The download broke off. Try it again: what is here is not fetched again.',
    'other-bytes': 'The file is not what its publisher hashed: it changed while it was shared. Nothing was saved.',
    'not-written': 'It could not be written: the disk may be full. Nothing was saved.',
    cancelled: 'Cancelled. Nothing was saved.',
  },
  tooLarge: (most: number) =>
    `This browser cannot save a file of more than ${bytes(most)} here. Open the link over https:// in another browser, or use the command “baton get”.`,
  file: (name: string) => `Download ${name}`,
  fileSaving: (name: string) => `Saving ${name}`,
  fileSaved: (name: string) => `Saved ${name}`,
  fileFailed: (name: string) => `The download of ${name} broke off. Try it again.`,
};

export const roomMessages = {
  short: (room: number, size: number) =>
    `This browser has room for ${bytes(room)} of ${bytes(size)}: what is farthest from where you are goes first, and is fetched again when you come to it. A download is not held up by that.`,
  more: 'What else it keeps',
};

export const libraryMessages = {
  title: 'What this browser keeps',
  lead: 'Films and files that you opened here stay on this device, sealed, so that nothing is fetched twice. While any page of Baton is open in this browser, those that are whole are passed on to whoever opens their links.',
  used: (used: number, quota: number) => `${bytes(used)} in use of ${bytes(quota)} that the browser grants`,
  persisted: 'The browser deletes nothing of it by itself.',
  notPersisted: 'The browser may delete it when the disk gets full.',
  persist: 'Ask the browser to keep it',
  refused: 'The browser did not agree. It may once you use Baton more often.',
  streams: 'Fetched',
  shares: 'Shared from here',
  empty: 'Nothing yet. Whatever you watch or fetch here appears on this page.',
  unknown: 'A stream of an earlier visit',
  onDisk: (size: number) => `${bytes(size)} on disk`,
  ofIt: (have: number, size: number) => (have >= 1 ? `all of ${bytes(size)}` : `${percent(have)} of ${bytes(size)}`),
  given: (count: number) => `given ${bytes(count)}`,
  taken: (count: number) => `taken ${bytes(count)}`,
  signed: 'its files are where you chose them',
  states: {
    here: 'Being passed on by this page',
    elsewhere: 'Open in another tab',
    stopped: 'Not passed on',
    partial: 'Passed on once all of it is here',
    waiting: 'Passed on in a moment',
    many: 'Waits until fewer others are passed on',
    sharing: 'Being shared in another tab',
    resting: 'Rests until you go on with it',
    lost: 'Its link is not known any more',
  },
  passOn: 'Pass on',
  passOnName: (name: string) => `Pass on ${name}`,
  watch: 'Open',
  goOn: 'Go on sharing',
  remove: 'Delete',
  removeConfirm: (name: string) => `Delete ${name} from this browser? It is fetched again if you open its link again.`,
  forgetConfirm: (name: string) => `Forget the share of ${name}? Its link will never work again. The file itself stays where it is.`,
  busy: (name: string) => `${name} is open in another tab. Close that first.`,
  removed: (name: string) => `${name} is deleted.`,
  swept: (count: number, size: number) => `Cleared away: what ${count === 1 ? 'a share' : `${count} shares`} left behind, ${bytes(size)}.`,
  insecure: 'A browser keeps things only for pages with a secure address (https://). On this one, what you watch stays in memory until you close the page.',
  unavailable: 'This browser keeps nothing for Baton here: this may be a private window, or its storage is switched off. What you watch stays in memory until you close the page.',
  share: 'Share a film of your own',
};
