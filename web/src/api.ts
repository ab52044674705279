/**
 * The API of Baton in a page: what `/client.js` exports and what our own pages use.
 *
 *     import { Client } from 'https://baton.example/client.js';
 *     const client = await Client.start();
 *     const view = client.open(link);
 *     view.attach(document.querySelector('video'));
 *
 * This file holds declarations only: the build copies it as it is to `/client.d.ts`.
 */

/** Settings of one client; all have defaults. */
export interface ClientOptions {
  /** Origin of the Baton server, e.g. `https://baton.example`; by default the one that served `/client.js`. */
  server?: string;
  /** Where sealed blocks are kept. `opfs` survives a reload; where it is missing, memory is used. */
  storage?: 'opfs' | 'memory';
  /** `tv`: for a machine with little of everything. Eight connections at most, 14 MB of the stream kept, half a megabyte per second passed on. */
  means?: 'tv';
  /** Force one build of the engine; by default the browser decides. */
  wasm?: 'mvp' | 'simd';
}

/** One engine in one worker. It may share and open any number of streams at once. */
export declare class Client {
  private constructor();
  /** Loads and starts the engine. Rejects when this browser cannot run it. */
  static start(options?: ClientOptions): Promise<Client>;
  /** Shares files under a new link. `webkitRelativePath` is where each is in a folder. The link is there when this returns: nothing is read first. */
  share(files: File | FileList | Iterable<File>, options?: ShareOptions): Share;
  /** Opens a link (or its fragment alone). What goes wrong is told by `stats().problem`. */
  open(url: string, options?: ViewOptions): View;
  /** Ends all shares and views, and the worker. */
  close(): void;
}

export interface ShareOptions {
  /** The title that viewers see; by default the name of the file, or of the folder that they are all in. */
  title?: string;
  /** What is signed is kept on this browser's disk, so that a later page can go on (`resume`); possible once `bytes_stored` is not 0. */
  keep?: boolean;
  /**
   * `Share.key` of a share that an earlier page of this origin began with these very files: it goes on under the same link. Throws a
   * RangeError when one has another size; other bytes are noticed when they are asked for (`file-changed`).
   */
  resume?: Uint8Array;
}

// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- room for later settings
export interface ViewOptions {}

/** Limits on what we pass on. What is absent stays as it was. */
export interface UploadSettings {
  paused?: boolean;
  /** Upper bound in bytes per second; `null`: no bound of our own. */
  bytesPerSecond?: number | null;
}

/** A stream that this page publishes. */
export interface Share {
  /** The link to pass on. */
  readonly url: string;
  /** For `baton keep` on a server of your own: enough to keep the stream alive, not to read it. */
  readonly ticket: string;
  /** What `resume` takes. Whoever has it can publish under this link: keep it on this machine. */
  readonly key: Uint8Array;
  /** Where on this browser's disk it is kept, if it is: `baton/` and this, in the origin private file system. */
  readonly folder: string;
  stats(): ShareStats;
  setUpload(settings: UploadSettings): void;
  /** Stops sharing. Viewers that have everything go on without us. */
  stop(): void;
  /** Called when `stats()` is different: at most four times a second, and at once for `phase` and `problem`. */
  onchange: (() => void) | null;
}

/** A stream that this page watches or downloads, and passes on. */
export interface View {
  /** What the stream is; settles once the manifest is here and verified. Rejects when the view ends before. */
  readonly meta: Promise<Meta>;
  /** Plays into this element through MediaSource: this file of `meta.files`, by default the first that can be played. */
  attach(video: HTMLVideoElement, file?: number): void;
  /** What the film is made of; `null` until that is known. Told of by `onchange`. */
  film(): Film | null;
  /** Goes on with another sound track, or with other subtitles (`null`: none). Subtitles are text tracks of the element. */
  select(kind: 'audio' | 'subtitles', id: number | null): void;
  /**
   * The last picture of the film at or before this time (seconds) that can be shown by itself, if its bytes are here already: nothing is fetched for it. `null`
   * where there is none, while a picture is being waited for, and before `attach`.
   */
  still(at_s: number): Promise<Still | null>;
  /** Resolves when every block is here and verified, without a player. */
  fetchAll(): Promise<void>;
  /** Hands a file of `meta.files` (by default the first) over once all of it is here, byte for byte. */
  download(file?: number): Promise<Blob>;
  /**
   * The same as a stream, from its first byte on as they come: nothing of it is held in memory, and what is not here yet is fetched in its order. The
   * stream fails in the end if the whole is not what its publisher hashed (`meta.files[file].blake3`).
   */
  stream(file?: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>;
  /** Where on this browser's disk it is kept, as `Share.folder`; empty where the link is none. */
  readonly folder: string;
  stats(): ViewStats;
  setUpload(settings: UploadSettings): void;
  close(): void;
  /** As `Share.onchange`. */
  onchange: (() => void) | null;
}

export interface Meta {
  /** What the publisher calls it; by default the name of the file or folder. */
  title: string;
  /** The name of the file (of the folder), to save it under. */
  name: string;
  /** Several files, or a folder: `mime` is empty, `duration_s` and `blake3` are `null`. */
  folder: boolean;
  /** As the publisher has them; one if it is no folder. */
  files: FileMeta[];
  /** Bytes of all files. */
  size: number;
  mime: string;
  /** Whether there is a film or sound that this browser may play. */
  playable: boolean;
  /** Seconds; `null` when it is not known (yet). */
  duration_s: number | null;
  /** Plain BLAKE3 of the whole file in hex (what `b3sum` prints), once the publisher has read it all. */
  blake3: string | null;
}

export interface FileMeta {
  /** Relative, parts divided by `/`, each fit for every system. Two may be equal but for case. */
  path: string;
  /** Bytes. */
  size: number;
  mime: string;
  playable: boolean;
  /** Seconds; `null` when it is not known (yet). */
  duration_s: number | null;
  /** Plain BLAKE3 in hex, once the publisher has read it all. */
  blake3: string | null;
}

/** One picture as a film of its own, a second long: append `data` to a SourceBuffer of type `mime`, and it is shown at 0. */
export interface Still {
  /** When the film shows it, seconds. */
  at_s: number;
  mime: string;
  data: ArrayBuffer;
}

export interface Film {
  /** As the file itself says. */
  title: string | null;
  tracks: Track[];
  /** In order of time; empty where there are none. */
  chapters: { start_s: number; title: string }[];
}

export interface Track {
  id: number;
  kind: 'video' | 'audio' | 'subtitles';
  /** For experts: `avc1.64001F`, `A_DTS`. */
  codec: string;
  /** ISO 639-2 or BCP 47, as the file has it. */
  language: string | null;
  title: string | null;
  /** Of a sound track; 0 otherwise. */
  channels: number;
  /** Subtitles for foreign words only. */
  forced: boolean;
  /** Whether this browser can. */
  playable: boolean;
  /** Whether it does. */
  selected: boolean;
}

export type Phase =
  | 'starting'
  | 'connecting'
  | 'looking'
  | 'fetching'
  | 'playing'
  | 'complete'
  | 'sharing'
  | 'stopped';

export type ProblemCode =
  | 'bad-link'
  | 'wrong-version'
  /** Nobody who is connected has what is missing. */
  | 'nobody-here'
  /** Whoever has what is missing passes nothing on at present. */
  | 'all-paused'
  | 'server-lost'
  | 'server-refused'
  | 'unsupported-media'
  | 'unsupported-browser'
  | 'file-changed'
  | 'file-unreadable'
  | 'ended'
  | 'expired'
  | 'fraud'
  | 'media-broken'
  /** The picture plays, its sound cannot. */
  | 'no-sound'
  /** The engine broke down: nothing moves in this client any more. */
  | 'engine-stopped';

/** Something that a person should know about. It goes away by itself (`problem: null`) when it is over. */
export interface Problem {
  code: ProblemCode;
  /** For experts: a codec, a place in a file, the server's reason as a code (`swarm-full`). */
  detail?: string;
  /** Seconds until the next attempt, where there is one. */
  retry_s?: number;
}

export interface PeerStats {
  id: string;
  role: 'publisher' | 'viewer' | 'seeder' | 'keeper';
  /** Milliseconds; `null` until measured. */
  rtt_ms: number | null;
  /** Bytes per second from this peer. */
  down_bps: number;
  /** Bytes per second to this peer. */
  up_bps: number;
  /** Bytes in all from this peer. */
  received: number;
  /** Bytes in all to this peer. */
  sent: number;
  path: 'direct' | 'relay';
  /** A coarse region, where the server knows one. */
  region: string | null;
  /** How much of the stream it has, 0 to 1. */
  complete: number;
}

/** What is true of a share and of a view. A snapshot, at most 250 ms old. */
export interface Stats {
  phase: Phase;
  problem: Problem | null;
  /** Every block is here and verified. */
  complete: boolean;
  /** How much of the stream is here, 0 to 1. */
  have: number;
  /** Bytes; 0 until known. */
  size: number;
  /** How much of it the other connected peers hold together, the publisher left out, 0 to 1. */
  others: number;
  /** How many other connected peers hold all of it, the publisher left out. */
  complete_peers: number;
  bytes_verified: number;
  /** Of those, what is on this browser's disk: a reload does not fetch it again. Of a share with `keep`, what it wrote down. 0 where there is no such disk. */
  bytes_stored: number;
  verified_blocks: number;
  rejected_blocks: number;
  bytes_received: number;
  bytes_sent: number;
  /** Of those, what others signed that they got and had not before: less than `bytes_sent`, and some seconds behind it. */
  bytes_confirmed: number;
  /** How many signed that. */
  confirmed_by: number;
  /** Bytes received from peers that are not the publisher. */
  from_viewers: number;
  /** Bytes per second. */
  down_bps: number;
  /** Bytes per second. */
  up_bps: number;
  /** The person paused passing on. */
  paused: boolean;
  path_counts: { direct: number; relay: number };
  peers: PeerStats[];
  /** Plain BLAKE3 in hex, once known. */
  blake3: string | null;
  /** Navigation to first picture in milliseconds; `null` until then. */
  startup_ms: number | null;
  /** How often playback had to wait after it had begun. */
  stalls: number;
}

export interface ShareStats extends Stats {
  /** Background hashing, above 0 and below 1; `null` when it has not begun or is over. */
  hash_progress: number | null;
}

export interface ViewStats extends Stats {
  /** Which of `meta.files` is played; `null`: none. */
  file: number | null;
  /** Which parts of that file are here, as fractions of its bytes from 0 to 1 in order, as coarse as a slider shows them. */
  have_ranges: [number, number][];
}
