/**
 * Stands in for `src/boot.ts` in `npm run dev`: a client without engine, so that pages can be drawn and looked at.
 *
 * What it plays is chosen by the query: `?peers=3&phase=looking&problem=nobody-here&kind=file&host=slow&speed=4`.
 * Never part of a production build.
 */
import type {
  Client, ClientOptions, Film, Meta, PeerStats, Phase, Problem, ProblemCode, Share, ShareStats, Stats, Track, View, ViewStats,
} from '../src/api';

const query = new URLSearchParams(location.search);
const number = (name: string, usual: number): number => Number(query.get(name) ?? usual);

export class BootError extends Error {
  constructor(readonly code: 'unsupported-browser' | 'server-lost', message: string) {
    super(message);
  }
}

export function warmUp(): void {}

/** There is none. */
export const workerOf = (): Worker => new EventTarget() as Worker;

export async function startClient(_options: ClientOptions = {}): Promise<Client> {
  await pause(number('boot', 150));
  if (query.get('boot') === 'fail') throw new BootError('server-lost', 'fake');
  if (query.get('boot') === 'old') throw new BootError('unsupported-browser', 'WebRTC');
  const fake = { share: (files: File | Iterable<File>) => new FakeShare(files), open: () => new FakeView(), close() {} };
  return fake as unknown as Client;
}

class FakeStream {
  onchange: (() => void) | null = null;
  protected started = performance.now();
  protected paused = false;
  private timer = setInterval(() => this.onchange?.(), 250);

  setUpload(settings: { paused?: boolean }): void {
    this.paused = settings.paused ?? this.paused;
    this.onchange?.();
  }
  stop(): void {
    clearInterval(this.timer);
  }
  close(): void {
    clearInterval(this.timer);
  }
  protected seconds(): number {
    return ((performance.now() - this.started) / 1000) * number('speed', 1) + number('age', 0);
  }
  protected base(size: number, publisher: boolean): Stats {
    const t = this.seconds();
    const have = publisher ? 1 : Math.min(1, t / 40);
    const wave = (i: number) => 1 + 0.5 * Math.sin(t / 1.7 + i * 2) + 0.25 * Math.sin(t * 1.3 + i);
    const peers: PeerStats[] = [];
    for (let i = 0; i < number('peers', 3); i++) {
      const first = i === 0 && !publisher && !query.has('gone');
      peers.push({
        id: (0x3fa2c1 * (i + 3)).toString(16).padEnd(64, '0'),
        role: first ? 'publisher' : i === 2 ? 'seeder' : 'viewer',
        rtt_ms: [48, 2.4, 12, 130][i % 4]!,
        down_bps: publisher || have >= 1 ? 0 : Math.max(0, wave(i)) * (first ? 0.3e6 : 0.8e6),
        up_bps: this.paused || i === 2 ? 0 : Math.max(0, wave(i + 1)) * 0.5e6,
        received: publisher ? 0 : t * (first ? 0.3e6 : 0.8e6),
        sent: t * 0.5e6,
        path: i === 3 ? 'relay' : 'direct',
        region: [null, null, 'Norway', 'Brazil'][i % 4]!,
        complete: first || i === 2 ? 1 : Math.min(1, (t + i * 3) / 60),
      });
    }
    const received = peers.reduce((n, p) => n + p.received, 0);
    const down = peers.reduce((n, p) => n + p.down_bps, 0);
    const complete_peers = peers.filter((p) => p.complete >= 1).length;
    return {
      phase: 'playing', problem: problem(), complete: have >= 1, have, size,
      others: Math.max(0, ...peers.map((p) => p.complete)), complete_peers,
      bytes_verified: have * size, bytes_stored: have * size, verified_blocks: Math.floor((have * size) / 16384), rejected_blocks: number('rejected', 0),
      bytes_received: received, bytes_sent: t * 0.5e6 * peers.length,
      bytes_confirmed: t * 0.4e6 * peers.length, confirmed_by: peers.length,
      from_viewers: received - (peers.find((p) => p.role === 'publisher')?.received ?? 0),
      down_bps: down, up_bps: peers.reduce((n, p) => n + p.up_bps, 0),
      paused: this.paused, path_counts: { direct: peers.filter((p) => p.path === 'direct').length, relay: 0 },
      peers, blake3: null, startup_ms: null, stalls: number('stalls', 0),
    };
  }
}

class FakeShare extends FakeStream implements Share {
  readonly url = `${query.get('origin') ?? location.origin}/#${LINK}`;
  readonly ticket = 'fake-ticket';
  readonly key = new Uint8Array();
  readonly folder = 'share-fake';
  private readonly size: number;

  constructor(files: File | Iterable<File>) {
    super();
    this.size = files instanceof File ? files.size : [...files].reduce((n, file) => n + file.size, 0);
  }
  stats(): ShareStats {
    const base = this.base(Math.max(1, this.size), true);
    const hashed = this.seconds() / 20;
    if (query.get('peers') === '0') base.others = 0;
    return {
      ...base, phase: 'sharing',
      hash_progress: hashed < 1 ? hashed : null,
      blake3: hashed < 1 ? null : 'd74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24',
    };
  }
}

class FakeView extends FakeStream implements View {
  readonly meta: Promise<Meta>;
  private video: HTMLVideoElement | null = null;
  private startup: number | null = null;
  private sound = 1;
  private words: number | null = null;
  private readonly file = query.get('kind') === 'file';

  constructor() {
    super();
    const never = query.has('phase') || (query.has('problem') && !query.has('playing'));
    this.meta = never
      ? new Promise(() => undefined)
      : pause(number('meta', 600)).then(() =>
          this.file
            ? { title: 'holiday-photos-2026.zip', name: 'holiday-photos-2026.zip', size: 734_003_200, mime: 'application/zip', playable: false, duration_s: null, blake3: null, folder: false, files: [] }
            : { title: 'big-buck-bunny-480p-30s.mp4', name: 'big-buck-bunny-480p-30s.mp4', size: 4_242_000, mime: 'video/mp4', playable: query.get('problem') !== 'unsupported-media', duration_s: 30.04, blake3: null, folder: false, files: [] },
        );
  }
  attach(video: HTMLVideoElement): void {
    this.video = video;
    void this.meta.then((meta) => {
      if (!meta.playable) return;
      video.addEventListener('loadeddata', () => (this.startup = performance.now()), { once: true });
      video.src = '/dev-film.mp4';
    });
  }
  film(): Film | null {
    const track = (id: number, kind: Track['kind'], language: string, title: string | null): Track => {
      const selected = kind === 'audio' ? id === this.sound : id === this.words;
      return { id, kind, codec: '', language, title, channels: kind === 'audio' ? 2 : 0, forced: false, playable: true, selected };
    };
    if (!query.has('tracks')) return null;
    return {
      title: null,
      tracks: [track(1, 'audio', 'eng', null), track(2, 'audio', 'deu', 'Kommentar'), track(3, 'subtitles', 'fre', null)],
      chapters: [{ start_s: 0, title: 'The beginning' }, { start_s: 12, title: 'The butterfly' }],
    };
  }
  select(kind: 'audio' | 'subtitles', id: number | null): void {
    if (kind === 'audio') this.sound = id ?? this.sound;
    else this.words = id;
    this.onchange?.();
  }
  still(): Promise<null> {
    return Promise.resolve(null);
  }
  async fetchAll(): Promise<void> {
    while (this.stats().have < 1) await pause(200);
  }
  readonly folder = '';
  async stream(): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return (await this.download()).stream();
  }
  async download(): Promise<Blob> {
    await this.fetchAll();
    return new Blob(['fake']);
  }
  override close(): void {
    super.close();
    this.video?.removeAttribute('src');
    this.video?.load();
  }
  stats(): ViewStats {
    const size = this.file ? 734_003_200 : 4_242_000;
    const base = this.base(size, false);
    const t = this.seconds();
    const forced = query.get('phase') as Phase | null;
    if (forced || t < 0.6) {
      return { ...base, phase: forced ?? (t < 0.3 ? 'connecting' : 'looking'), have: 0, file: null, have_ranges: [], peers: [], bytes_received: 0, down_bps: 0 };
    }
    const phase: Phase = base.complete ? 'complete' : this.file || this.startup === null ? 'fetching' : 'playing';
    return { ...base, phase, startup_ms: this.startup, file: 0, have_ranges: [[0, base.have * 0.6], [0.85, 0.85 + base.have * 0.15]] };
  }
}

function problem(): Problem | null {
  const code = query.get('problem') as ProblemCode | null;
  if (!code) return null;
  const retry = query.get('retry');
  const detail = code === 'unsupported-media' ? { detail: 'hvc1.1.6.L93.B0' } : {};
  return retry ? { code, retry_s: Number(retry), ...detail } : { code, ...detail };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const LINK =
  'AZk3v1x0cH2Qn7sJd8yWqM4bE6tLrXoPaU5iNfKgVhC9zDwSBjT1Ym0RlOeG2uF7pI8kAxQ3cZvNbHsJdWqM4bE6tLrXoPaU5iNf';
