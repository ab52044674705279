/** Every string of the share page alone: apart from the others, because whoever watches has no use for them. */
import { percent } from './format.ts';
import { plural } from './messages.ts';

export const shareMessages = {
  headline: ['Drop a film.', 'Pass the link.'],
  lead: 'Whoever opens the link watches at once, straight from this browser, and hands it to the next. Nothing is uploaded, and no server can read it.',
  drop: 'Drop films, files or folders here',
  dropNow: 'Let go to share it',
  choose: 'Choose files',
  chooseHint: 'or drop it anywhere on this page, or paste it',
  preparing: 'One moment…',
  chooseFolder: 'Choose a folder',
  emptyFolder: 'There is no file in that folder.',
  folderUnreadable: 'This browser could not read that folder.',
  linkLabel: 'The link to your stream',
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
  blake3Hint: 'Compare with b3sum to be sure that a download is complete and unchanged.',
  keep: 'Keep it alive on your own server',
  keepHint: 'Run this where it is always on: it verifies and passes on what you share, but cannot read it. You may close this page once it has everything.',
  copyCommand: 'Copy command',
};

export const resumeMessages = {
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
};
