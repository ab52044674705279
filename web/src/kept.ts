/**
 * The shares that a later page of this browser may go on with: their keys and, where the browser has such, handles of their files.
 *
 * What was signed is in the share's folder (docs/storage.md); this is the rest. One page at a time has a share: whoever holds its Web Lock.
 */
import type { Share } from './api';
import { lockOf, remove } from './folder';
import { records } from './records';

export interface Kept {
  /** The link's fragment. */
  id: string;
  /** `Share.key`. */
  key: Uint8Array;
  /** `Share.folder`. */
  folder: string;
  name: string;
  size: number;
  count: number;
  /** They came as a folder, and are chosen as one again. */
  inFolder: boolean;
  /** Of the files, or of the folders that they are in; empty where the browser gave none. */
  handles: FileSystemHandle[];
  /** When a page last began or went on with it, milliseconds of Unix time. */
  at: number;
}

type Asking = FileSystemHandle & {
  queryPermission?(): Promise<PermissionState>;
  requestPermission?(): Promise<PermissionState>;
};

const shares = records<Kept>('shares');

/** Whether shares can be kept here: not on insecure pages, nor in engines before 2022. */
export const canKeep = (): boolean => !!navigator.locks && typeof indexedDB === 'object';

export const idOf = (share: Share): string => share.url.slice(share.url.indexOf('#') + 1);

/** Writes a share down. False: another page has it, or the browser keeps nothing. */
export async function remember(kept: Kept): Promise<boolean> {
  if (!canKeep() || !(await hold(kept.id))) return false;
  try {
    await shares.put(kept);
    return true;
  } catch {
    release(kept.id); // a private window
    return false;
  }
}

/** The last one first. */
export async function all(): Promise<Kept[]> {
  if (!canKeep()) return [];
  const found = await shares.all().catch((): Kept[] => []);
  return found.sort((a, b) => b.at - a.at);
}

/** Whether this may be gone on with: no page has it, this one included, and it was not forgotten a moment ago. */
export async function isFree(id: string): Promise<boolean> {
  if (holding.has(id) || !(await hold(id))) return false;
  const found = await shares.get(id).catch(() => undefined);
  release(id);
  return found !== undefined;
}

/** Nobody goes on with it any more: the key, and what was signed, are deleted. */
export async function forget(kept: Pick<Kept, 'id' | 'folder'>): Promise<void> {
  await shares.delete(kept.id);
  release(kept.id);
  // Whoever shares it has the folder until it has stopped.
  await navigator.locks.request(lockOf(kept.folder), () => remove(kept.folder));
}

const holding = new Map<string, () => void>();

/** Takes the right to share this; false: another page has it. */
export function hold(id: string): Promise<boolean> {
  if (holding.has(id)) return Promise.resolve(true);
  return new Promise((answer, failed) => {
    const held = (lock: Lock | null): Promise<void> | undefined => {
      answer(lock !== null);
      return lock ? new Promise((release) => holding.set(id, release)) : undefined;
    };
    navigator.locks.request(`baton sharing ${id}`, { ifAvailable: true }, held).catch(failed);
  });
}

export function release(id: string): void {
  holding.get(id)?.();
  holding.delete(id);
}

/** Whether all of these may be read; `ask`: the person has clicked, and may be asked. */
export async function mayRead(handles: FileSystemHandle[], ask: boolean): Promise<boolean> {
  for (const handle of handles as Asking[]) {
    const answer = ask ? handle.requestPermission?.() : handle.queryPermission?.();
    if (((await answer) ?? 'granted') !== 'granted') return false;
  }
  return handles.length > 0;
}

/** The files behind handles, those of folders with their paths, as a directory picker has them. */
export async function filesOf(handles: FileSystemHandle[], path = ''): Promise<File[]> {
  const found: File[] = [];
  for (const handle of handles) {
    const here = path + handle.name;
    if (handle.kind === 'directory') {
      const inside: FileSystemHandle[] = [];
      for await (const entry of (handle as unknown as { values(): AsyncIterable<FileSystemHandle> }).values()) inside.push(entry);
      found.push(...(await filesOf(inside, `${here}/`)));
    } else {
      const file = await (handle as FileSystemFileHandle).getFile();
      if (path !== '') Object.defineProperty(file, 'webkitRelativePath', { value: here });
      found.push(file);
    }
  }
  return found;
}
