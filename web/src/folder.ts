/**
 * Opens what this origin keeps of a stream: `baton/NAME` in the origin private file system, for one worker at a time
 * (docs/storage.md). The engine calls it by `batonFolder`.
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

/** How often a file is tried, and how long between, milliseconds: three seconds, after which memory does. */
const ATTEMPTS = 30;
const ATTEMPT_MS = 100;

export async function openFolder(name: string): Promise<Folder | undefined> {
  const { locks, storage } = navigator;
  // Insecure pages, and engines before 2022.
  if (!locks || !storage?.getDirectory) return undefined;
  const release = await new Promise<() => void>((granted, refused) => {
    locks.request(`baton ${name}`, () => new Promise<void>((release) => granted(release))).catch(refused);
  });
  try {
    const create = { create: true };
    const all = await (await storage.getDirectory()).getDirectoryHandle('baton', create);
    const folder = await all.getDirectoryHandle(name, create);
    const log = await access(folder, 'log');
    const blocks = await access(folder, 'blocks');
    const { quota = 0, usage = 0 } = await storage.estimate();
    return { log, blocks, room: Math.max(0, quota - usage), release };
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
