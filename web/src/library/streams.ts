/**
 * What this browser fetched and keeps: the records of its streams, and their folders in the origin private file system (docs/storage.md).
 *
 * A folder has no name and no key in it; the record has both, so that a stream can be listed, opened and passed on by a later page.
 */
import { lockOf, remove as deleteFolder, tell } from '../folder';
import { records } from '../records';

export interface Stream {
  /** `View.folder`. */
  folder: string;
  link: string;
  title: string;
  /** Bytes of all files. */
  size: number;
  /** How much of it is here, 0 to 1, as a page saw it last. */
  have: number;
  /** Bytes passed on and received, over all visits. */
  given: number;
  taken: number;
  /** Of what was passed on, what others signed that they got, and how many did; not in records of before 2026-11-30. */
  confirmed?: number;
  confirmedBy?: number;
  /** When a page last had it, milliseconds of Unix time. */
  at: number;
  /** Passed on while any page is open; the person can stop that. */
  seed: boolean;
}

export const streams = records<Stream>('streams');

/** Whether this page can look at all: not on insecure ones, nor in engines before 2022. */
export const canLook = (): boolean => !!navigator.locks && !!navigator.storage?.getDirectory && typeof indexedDB === 'object';

/** Streams passed on at one time: each has connections, and up to 32 MiB of cache. The ones used last. */
const PASSED_ON_MAX = 8;

/** Those that are passed on while any page is open: kept whole, and wanted by the person. */
export const passedOn = (all: Stream[]): Stream[] =>
  all
    .filter((stream) => stream.seed && stream.have >= 1)
    .sort((a, b) => b.at - a.at)
    .slice(0, PASSED_ON_MAX);

/** Folders that some page of this browser has open. */
export async function held(): Promise<Set<string>> {
  const { held = [] } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name?.replace(/^baton /, '') ?? ''));
}

/** How long a page that only passes a stream on may take to give it up, milliseconds. */
const YIELD_MS = 4000;

/** Deletes a stream: its folder, which frees its storage, and its record; false: another page has it open. */
export async function remove(folder: string, wait = true): Promise<boolean> {
  if (wait) tell(folder);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), YIELD_MS);
  try {
    return await navigator.locks.request(lockOf(folder), wait ? { signal: late.signal } : { ifAvailable: true }, async (lock) => {
      if (!lock) return false;
      clearTimeout(timer);
      await deleteFolder(folder);
      // Before the lock is free: whoever waits for it, to pass the stream on, must not find the record of what is gone.
      await streams.delete(folder);
      return true;
    });
  } catch (error) {
    if ((error as DOMException).name === 'AbortError') return false;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
