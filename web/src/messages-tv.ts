/** Every string that a person reads on a television, and where one plays on a television: apart from the others, because few pages load them. */
import type { Failure, NoCode, Phase } from './remote/words';

const plural = (n: number, one: string, many: string): string => `${n} ${n === 1 ? one : many}`;

const FAILURES: Record<Failure, string> = {
  nobody: 'No TV shows that code, or not any more. Look at the TV again.',
  wrong: 'That is not the code on the TV. Check the letters.',
  'too-many': 'Too many codes were tried from here. Wait two minutes.',
  lost: 'The TV does not answer. Is its page still open?',
};

const PHASES: Record<Phase, string> = {
  idle: 'Nothing is playing',
  loading: 'Starting…',
  playing: 'Playing',
  paused: 'Paused',
  waiting: 'Waiting for the next part…',
  ended: 'The end',
  failed: 'It does not play',
};

export const tvMessages = {
  name: 'TV',

  home: {
    title: 'Play on this TV',
    steps: ['Open the film on a phone or laptop', 'Choose “Play on TV”', 'Type this code'],
    scan: 'Or scan this with the phone’s camera',
    codeLabel: (code: string) => `Code ${code.split('').join(' ')}`,
    waiting: 'One moment…',
    noCode: (why: NoCode): string =>
      ({ tries: 'Three wrong codes were tried.', busy: 'The server has no code at the moment. Trying again…', lost: 'The server does not answer. Trying again…' })[why],
    newCode: 'New code',
    link: 'Open a link',
    phones: (n: number) => (n === 0 ? 'No phone yet' : plural(n, 'phone', 'phones')),
    resume: (title: string) => `Go on with ${title}`,
    settings: 'Name and phones',
  },

  link: {
    title: 'Open a link',
    label: 'The link',
    hint: 'Typing a link with a remote control takes patience: a phone that scans the code is quicker.',
    bad: 'There is no Baton link in that.',
    open: 'Watch',
    cancel: 'Back',
  },

  settings: {
    title: 'This TV',
    name: 'What it is called',
    save: 'Save',
    phones: 'Phones that may play here',
    none: 'None yet. The code on the first page brings one.',
    here: 'connected',
    forget: (label: string) => `Forget ${label}`,
    unnamed: 'a phone',
    back: 'Back',
  },

  film: {
    play: 'Play',
    pause: 'Pause',
    back10: 'Back 10 seconds',
    forward30: 'On 30 seconds',
    tracks: 'Sound and subtitles',
    sound: 'Sound',
    subtitles: 'Subtitles',
    off: 'Off',
    stop: 'Stop',
    next: 'Next',
    position: 'Position',
    muted: 'Muted',
    from: (phone: string) => `Sent by ${phone}`,
  },

  remote: {
    title: 'Play on TV',
    open: 'On the TV’s browser open',
    code: 'The code on the TV',
    connect: 'Connect',
    scan: 'Scan',
    scanning: 'Hold the TV’s code in front of the camera.',
    noCamera: 'The camera cannot be used here. Type the code.',
    bad: 'A code has six letters and digits.',
    connecting: 'Connecting…',
    failed: (why: Failure): string => FAILURES[why],
    known: 'Your TVs',
    another: 'Another TV',
    away: (name: string) => `${name} does not answer. Is its page open?`,
    forgotten: (name: string) => `${name} does not know this device any more. Pair it again.`,
    phase: (phase: Phase): string => PHASES[phase],
    onTv: (name: string) => `On ${name}`,
    playNow: 'Play this one now',
    playNext: 'Play this one next',
    queued: (n: number) => `${plural(n, 'film waits', 'films wait')}`,
    play: 'Play',
    pause: 'Pause',
    back10: 'Back 10 seconds',
    forward30: 'On 30 seconds',
    position: 'Position on the TV',
    volume: 'Volume of the TV',
    mute: 'Mute the TV',
    unmute: 'Unmute the TV',
    sound: 'Sound',
    subtitles: 'Subtitles',
    off: 'Off',
    next: 'Next',
    stop: 'Stop on the TV',
    here: 'Go on here',
    link: 'Paste a link to play it there',
    send: 'Play',
    badLink: 'There is no Baton link in that.',
    tvName: 'Name of the TV',
    ownName: 'Name of this device',
    save: 'Save',
    names: 'Names',
    forget: 'Forget this TV',
    close: 'Close',
    leave: 'Another TV',
    lost: 'A part of this page did not come. Try again.',
  },
};
