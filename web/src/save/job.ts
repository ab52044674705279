/** One file, or all of them as a zip, on its way from a view to a person's disk. */
import { signal } from '@preact/signals';
import type { Meta, View } from '../api';
import { records } from '../records';
import { OtherBytes, Reader } from '../whole';
import { places, zip, zipSize } from '../zip';
import { Declined, openTarget, type Target, type Way } from './ways';

export interface State {
  phase: 'running' | 'paused' | 'saved' | 'failed' | 'cancelled';
  /** Bytes that the target has taken. */
  written: number;
  /** Bytes per second of late. */
  bps: number;
  way: Way;
  /** Plain BLAKE3 of what was written, in hex, once all is; of a zip none. */
  hash: string | null;
  why: 'broke-off' | 'other-bytes' | 'not-written' | null;
}

/** What an earlier page was saving: a later one goes on. */
export interface Saving {
  /** Link and file. */
  id: string;
  link: string;
  /** `null`: all of them. */
  file: number | null;
  name: string;
  size: number;
  /** Where it went, if the person chose a file. */
  handle?: FileSystemFileHandle;
}

const savings = records<Saving>('saves');

/** All of this page, in the order in which they were begun. */
export const jobs = signal<Job[]>([]);

/** The rate is that of so many milliseconds. */
const RATE_MS = 5000;
/** How often numbers are told, milliseconds. */
const TELL_MS = 250;

export class Job {
  readonly state;
  #samples: [at: number, written: number][] = [];
  #told = 0;
  #gate: Promise<unknown> = Promise.resolve();
  #open: () => void = () => undefined;
  #cancelled = false;
  /** Ends what is waited for now. */
  #stop: () => void = () => undefined;

  constructor(
    readonly saving: Saving,
    readonly target: Target,
    readonly source: { next(): Promise<Uint8Array<ArrayBuffer> | null>; hash: string | null },
  ) {
    this.state = signal<State>({ phase: 'running', written: 0, bps: 0, way: target.way, hash: null, why: null });
  }

  pause(): void {
    if (this.state.value.phase !== 'running') return;
    this.#gate = new Promise<void>((open) => (this.#open = open));
    this.#tell({ phase: 'paused', bps: 0 });
  }

  resume(): void {
    if (this.state.value.phase !== 'paused') return;
    this.#samples = [];
    this.#tell({ phase: 'running' });
    this.#open();
  }

  cancel(): void {
    this.#cancelled = true;
    this.#stop();
  }

  async run(): Promise<void> {
    const { saving, source, target } = this;
    target.onabort = () => this.cancel();
    let written = 0;
    try {
      for (;;) {
        const open = await this.#unlessStopped(this.#gate);
        const bytes = open === 'stopped' ? open : await this.#unlessStopped(source.next());
        if (bytes === 'stopped') {
          this.#tell({ phase: 'cancelled', bps: 0 });
          await target.abort().catch(() => undefined);
          return;
        }
        if (!bytes) break;
        const count = bytes.length;
        await wrapped(this.#unlessStopped(target.write(bytes)));
        this.#moved((written += count));
      }
      await wrapped(target.close());
      this.#tell({ phase: 'saved', written: saving.size, bps: 0, hash: source.hash });
    } catch (error) {
      // The browser's own list of downloads may cancel it while it is being closed.
      if (this.#cancelled) this.#tell({ phase: 'cancelled', bps: 0 });
      else this.#tell({ phase: 'failed', bps: 0, why: whyOf(error) });
      await target.abort().catch(() => undefined);
    } finally {
      await savings.delete(saving.id).catch(() => undefined);
    }
  }

  /**
   * What comes, or 'stopped' as soon as the person cancels.
   *
   * A promise of its own each time: a race against one promise that stays open for the whole job would keep the result of every race, each
   * of them a piece of 1 MiB, until the job ends.
   */
  #unlessStopped<T>(coming: Promise<T>): Promise<T | 'stopped'> {
    return new Promise((done, failed) => {
      this.#stop = () => done('stopped');
      if (this.#cancelled) done('stopped');
      coming.then(done, failed);
    });
  }

  #moved(written: number): void {
    const now = performance.now();
    if (now - this.#told < TELL_MS) return;
    this.#told = now;
    this.#samples = [...this.#samples.filter(([at]) => now - at < RATE_MS), [now, written]];
    const [at, before] = this.#samples[0]!;
    this.#tell({ written, bps: now > at ? ((written - before) * 1000) / (now - at) : 0 });
  }

  #tell(news: Partial<State>): void {
    this.state.value = { ...this.state.value, ...news };
  }
}

class NotWritten extends Error {}

const whyOf = (error: unknown): State['why'] =>
  error instanceof NotWritten ? 'not-written' : error instanceof OtherBytes ? 'other-bytes' : 'broke-off';

const wrapped = (writing: Promise<unknown>): Promise<unknown> =>
  writing.catch((error) => {
    throw new NotWritten(String(error));
  });

/** Begins to save; `null`: the person thought better of it. Called by a click. Rejects with `TooLarge`. */
export async function save(view: View, meta: Meta, link: string, file: number | null, again?: FileSystemFileHandle): Promise<Job | null> {
  const what = file === null ? null : (meta.files[file] ?? null);
  // A single file is saved under the name that the stream has.
  const name = what ? (meta.folder ? what.path.slice(what.path.lastIndexOf('/') + 1) : meta.name) : `${meta.name}.zip`;
  const list = what ? [] : parts(view, meta);
  const size = what ? what.size : zipSize(list);
  let target: Target;
  try {
    target = await openTarget(name, size, again);
  } catch (error) {
    if (error instanceof Declined) return null;
    throw error;
  }
  const saving: Saving = { id: `${link} ${file ?? 'all'}`, link, file, name, size, ...(target.handle ? { handle: target.handle } : {}) };
  const source = file === null ? zipped(list) : await Reader.open(view, file);
  const job = new Job(saving, target, source);
  jobs.value = [...jobs.value.filter((other) => other.saving.id !== saving.id), job];
  if (target.way !== 'memory') void remembered(saving, () => job.run());
  else void job.run();
  return job;
}

function parts(view: View, { name, files }: Meta) {
  const paths = places(name, files.map((file) => file.path));
  return files.map((file, index) => ({ path: paths[index]!, size: file.size, open: () => Reader.open(view, index) }));
}

function zipped(list: ReturnType<typeof parts>) {
  const bytes = zip(list);
  return { hash: null, next: async () => (await bytes.next()).value ?? null };
}

/** One page at a time: whoever has the lock. */
async function remembered(saving: Saving, run: () => Promise<void>): Promise<void> {
  const { handle: _, ...known } = saving;
  // Not every engine keeps handles, and a private window nothing.
  await savings.put(saving).catch(() => savings.put(known).catch(() => undefined));
  const { locks } = navigator;
  if (locks) await locks.request(lockOf(saving), run);
  else await run();
}

const lockOf = (saving: Saving): string => `baton saving ${saving.id}`;

/** What was being saved of this link when its page went away. */
export async function broken(link: string): Promise<Saving[]> {
  const { locks } = navigator;
  if (!locks || typeof indexedDB !== 'object') return [];
  const all = await savings.all().catch((): Saving[] => []);
  const busy = new Set((await locks.query()).held?.map((lock) => lock.name));
  return all.filter((saving) => saving.link === link && !busy.has(lockOf(saving)));
}

export const forget = (saving: Saving): Promise<unknown> => savings.delete(saving.id).catch(() => undefined);
