/** The words of `baton-remote` as they cross into JavaScript (remote/src/lib.rs, remote/src/words.rs). */

export type Phase = 'idle' | 'loading' | 'playing' | 'paused' | 'waiting' | 'ended' | 'failed';

export interface State {
  /** An address, or a fragment of this server's; '' when nothing is open. */
  link: string;
  title: string;
  phase: Phase;
  positionMs: number;
  durationMs: number;
  volumePermille: number;
  muted: boolean;
  queued: number;
  problem: string;
}

export interface RemoteTrack {
  id: number;
  subtitles: boolean;
  label: string;
  selected: boolean;
}

export type Command =
  | 'play'
  | 'pause'
  | 'next'
  | 'stop'
  | 'forget'
  | 'look'
  | { greet: { label: string } }
  | { open: { link: string; atMs: number } }
  | { queue: { link: string } }
  | { seek: { atMs: number } }
  | { volume: { permille: number; muted: boolean } }
  | { sound: { id: number } }
  | { subtitles: { id: number | null } }
  | { name: { name: string } }
  | { peek: { atMs: number } };

export type Report = { state: State } | { film: { tracks: RemoteTrack[] } } | { name: { name: string } } | 'forgotten' | { picture: Picture };

/** `jpeg` is empty where the television has none. */
export interface Picture {
  atMs: number;
  jpeg: Uint8Array;
}

export interface PhoneSeen {
  id: string;
  label: string;
  here: boolean;
}

export type NoCode = 'tries' | 'busy' | 'lost';
export type Failure = 'nobody' | 'wrong' | 'too-many' | 'lost';

export type Output =
  | { dial: { line: number } }
  | { hangup: { line: number } }
  | { send: { line: number; bytes: Uint8Array } }
  | { code: { text: string; token: string; untilMs: number } }
  | { noCode: { why: NoCode } }
  | { save: { bytes: Uint8Array } }
  | { phones: { list: PhoneSeen[] } }
  | { command: { phone: string; command: Command } }
  | { paired: { bytes: Uint8Array; name: string } }
  | { failed: { why: Failure } }
  | { linked: { yes: boolean } }
  | { report: { report: Report } };

/** A link as it travels: of this very server only its fragment, which the other end may know under another name. */
export function shortened(link: string): string {
  return link.startsWith(`${location.origin}/#`) ? link.slice(location.origin.length + 1) : link;
}

/** And back. */
export const whole = (link: string): string => (link.startsWith('#') ? `${location.origin}/${link}` : link);
