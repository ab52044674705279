/**
 * Opens what this origin keeps of a stream: `baton/NAME` in the origin private file system, for one worker at a time
 * (docs/storage.md). The engine calls it by `batonFolder`.
 *
 * The pages take from here how these folders are found, told of and deleted; what only they need is not in the worker's script.
 */
interface Folder {
  log: unknown;
  blocks: unknown;
  /** What the origin may still take, bytes. */
  room: number;
  /** Gives the folder to whoever waits for it, once both files are closed. */
  release(): void;
}

/** A synchronous access handle, which the types of a page do not know. */
type Accessible = FileSystemFileHandle & { createSyncAccessHandle(): Promise<unknown> };

/** All folders of streams and shares. */
export const root = async (): Promise<FileSystemDirectoryHandle> =>
  (await navigator.storage.getDirectory()).getDirectoryHandle('baton', { create: true });

/** The Web Lock of whoever has a folder open. */
export const lockOf = (name: string): string => `baton ${name}`;

/** Tells all pages that a folder is wanted, or by '' that the library's records have changed. */
export function tell(name: string): void {
  const channel = new BroadcastChannel('baton');
  channel.postMessage(name);
  channel.close();
}

/** How often a file is tried, and how long between, milliseconds: three seconds, after which memory does. */
const ATTEMPTS = 30;
const ATTEMPT_MS = 100;

export async function openFolder(name: string): Promise<Folder | undefined> {
  const { locks, storage } = navigator;
  // Insecure pages, and engines before 2022.
  if (!locks || !storage?.getDirectory) return undefined;
  // A page that only passes it on gives it up (library/tend.ts).
  tell(name);
  const release = await new Promise<() => void>((granted, refused) => {
    locks.request(lockOf(name), () => new Promise<void>((release) => granted(release))).catch(refused);
  });
  try {
    const all = await root();
    const room = await makeRoom(all, name);
    const folder = await all.getDirectoryHandle(name, { create: true });
    const log = await access(folder, 'log');
    const blocks = await access(folder, 'blocks');
    return { log, blocks, room, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Opens a file for us alone. The worker of a page that was just left may have it for a moment longer than its lock. */
async function access(folder: FileSystemDirectoryHandle, name: string): Promise<unknown> {
  const file = (await folder.getFileHandle(name, { create: true })) as Accessible;
  for (let attempt = 1; ; attempt++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, ATTEMPT_MS));
    }
  }
}

/** What all streams together may keep: half of what the browser grants, and no more than this, bytes. */
const KEPT_MAX = 20e9;

/**
 * Streams that nobody has open make room for the next one, those that were written to longest ago first.
 *
 * What the origin may take after that, bytes.
 */
async function makeRoom(all: FileSystemDirectoryHandle, name: string): Promise<number> {
  const { quota = 0, usage: used = 0 } = await navigator.storage.estimate();
  let usage = used;
  const most = Math.min(quota / 2, KEPT_MAX);
  const others = usage > most ? await list(all) : [];
  for (const other of others) {
    // What was signed for a share is not fetched again from anybody.
    if (usage <= most || other.name === name || other.name.startsWith('share-')) continue;
    try {
      await navigator.locks.request(lockOf(other.name), { ifAvailable: true }, async (lock) => {
        if (!lock) return;
        await all.removeEntry(other.name, { recursive: true });
        usage -= other.size;
      });
    } catch {
      // The worker of a page that was just left still has it: it goes another time.
    }
  }
  return Math.max(0, quota - usage);
}

/** A folder, its bytes on disk, and when it was last written to, milliseconds of Unix time. */
export interface Listed {
  name: string;
  size: number;
  at: number;
}

/** What is kept, the stream that was written to longest ago first. */
export async function list(all: FileSystemDirectoryHandle): Promise<Listed[]> {
  const found: Listed[] = [];
  for await (const entry of (all as unknown as { values(): AsyncIterable<FileSystemHandle> }).values()) {
    if (entry.kind !== 'directory') continue;
    let size = 0;
    let at = 0;
    for (const part of ['log', 'blocks']) {
      try {
        const file = await (await (entry as FileSystemDirectoryHandle).getFileHandle(part)).getFile();
        size += file.size;
        at = Math.max(at, file.lastModified);
      } catch {
        // Never whole, or nothing of ours.
      }
    }
    found.push({ name: entry.name, size, at });
  }
  return found.sort((a, b) => a.at - b.at);
}

/** Deletes a folder; whoever calls has its lock. The worker of a page that was just left may have its files for a moment longer. */
export async function remove(name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await (await root()).removeEntry(name, { recursive: true });
      return;
    } catch (error) {
      if ((error as DOMException).name === 'NotFoundError') return;
      if (attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, ATTEMPT_MS));
    }
  }
}
