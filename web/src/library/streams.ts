/**
 * What this browser fetched and keeps: the records of its streams, and their folders in the origin private file system (docs/storage.md).
 *
 * A folder has no name and no key in it; the record has both, so that a stream can be listed, opened and passed on by a later page.
 */
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
  /** When a page last had it, milliseconds of Unix time. */
  at: number;
  /** Passed on while any page is open; the person can stop that. */
  seed: boolean;
}

export const streams = records<Stream>('streams');

export interface Folder {
  name: string;
  /** Bytes on disk. */
  size: number;
}

/** Whether this page can look at all: not on insecure ones, nor in engines before 2022. */
export const canLook = (): boolean => !!navigator.locks && !!navigator.storage?.getDirectory && typeof indexedDB === 'object';

export const root = async (): Promise<FileSystemDirectoryHandle> =>
  (await navigator.storage.getDirectory()).getDirectoryHandle('baton', { create: true });

/** All folders of streams and shares. */
export async function folders(): Promise<Folder[]> {
  const found: Folder[] = [];
  for await (const entry of (await root() as unknown as { values(): AsyncIterable<FileSystemHandle> }).values()) {
    if (entry.kind !== 'directory') continue;
    let size = 0;
    for (const part of ['log', 'blocks']) {
      const file = await (entry as FileSystemDirectoryHandle).getFileHandle(part).catch(() => null);
      size += (await file?.getFile().catch(() => null))?.size ?? 0;
    }
    found.push({ name: entry.name, size });
  }
  return found;
}

export const lockOf = (folder: string): string => `baton ${folder}`;

/** Folders that some page of this browser has open. */
export async function held(): Promise<Set<string>> {
  const { held = [] } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name?.replace(/^baton /, '') ?? ''));
}

/** How long a page that only passes a stream on may take to give it up, milliseconds. */
const YIELD_MS = 4000;

/** Deletes a folder, and so frees its storage; false: another page has it open. */
export async function remove(folder: string, wait = true): Promise<boolean> {
  if (wait) tell(folder);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), YIELD_MS);
  try {
    return await navigator.locks.request(lockOf(folder), wait ? { signal: late.signal } : { ifAvailable: true }, async (lock) => {
      if (!lock) return false;
      clearTimeout(timer);
      await gone(folder);
      return true;
    });
  } catch (error) {
    if ((error as DOMException).name === 'AbortError') return false;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The worker of a page that was just left may have its files for a moment longer than its lock. */
async function gone(folder: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await (await root()).removeEntry(folder, { recursive: true });
      return;
    } catch (error) {
      if ((error as DOMException).name === 'NotFoundError') return;
      if (attempt === 30) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Tells all pages that a folder is wanted (`folder.ts` says so too, when a stream is opened), or by '' that the records have changed. */
export function tell(folder: string): void {
  const channel = new BroadcastChannel('baton');
  channel.postMessage(folder);
  channel.close();
}
