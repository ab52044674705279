/**
 * Where a file goes that somebody saves, best first: into a file that they choose (File System Access: Chromium), into the browser's own
 * download by a service worker, into a file of this origin's that is then saved, or into memory.
 *
 * Each takes a part only once it has room for it: whoever writes waits, and nothing piles up.
 */
export type Way = 'file' | 'stream' | 'disk' | 'memory';

export interface Target {
  way: Way;
  /** To go on with it in a later page. */
  handle?: FileSystemFileHandle;
  write(bytes: Uint8Array<ArrayBuffer>): Promise<unknown>;
  /** All of it was written: it is the person's now. */
  close(): Promise<unknown>;
  /** Nothing of it is to stay. */
  abort(): Promise<unknown>;
  /** Called when the person ended it elsewhere (the browser's list of downloads). */
  onabort?: () => void;
}

/** Larger files are streamed. What is smaller is saved without a question, where people expect it, bytes. */
export const SMALL_MAX = 64e6;
/** What memory may hold where there is nothing else, bytes: half of what a browser of 32 bits has. */
export const MEMORY_MAX = 1e9;

type Picker = { showSaveFilePicker?(options: { suggestedName: string }): Promise<FileSystemFileHandle> };

/** What to try, in this order; empty: it cannot be saved here. `room`: what this origin may still store, bytes. */
export function waysFor(size: number, can: { pick: boolean; work: boolean; room: number }): Way[] {
  if (size <= SMALL_MAX) return ['memory'];
  const ways: [Way, boolean][] = [
    ['file', can.pick],
    ['stream', can.work],
    ['disk', size < can.room],
    ['memory', size <= MEMORY_MAX],
  ];
  return ways.filter(([, possible]) => possible).map(([way]) => way);
}

/** The person thought better of it. */
export class Declined extends Error {}
/** No way takes a file of this size. */
export class TooLarge extends Error {}

/** Opens the first way that opens. Called by a click: a picker needs that. `again`: the file that an earlier page was writing. */
export async function openTarget(name: string, size: number, again?: FileSystemFileHandle): Promise<Target> {
  if (again) {
    try {
      return await intoFile(again);
    } catch {
      // It was moved or deleted: the person chooses anew.
    }
  }
  const { pick, work } = { pick: !!(window as Picker).showSaveFilePicker, work: !!navigator.serviceWorker };
  // Nothing is awaited before the picker: the click would be over.
  const room = size <= SMALL_MAX || pick ? Infinity : await roomHere();
  for (const way of waysFor(size, { pick, work, room })) {
    try {
      return await OPEN[way](name, size);
    } catch (error) {
      if ((error as DOMException).name === 'AbortError') throw new Declined();
      // A frame of another origin, a private window: the next one may.
    }
  }
  throw new TooLarge();
}

const OPEN: Record<Way, (name: string, size: number) => Target | Promise<Target>> = {
  file: async (name) => intoFile(await (window as Picker).showSaveFilePicker!({ suggestedName: name })),
  stream: intoDownload,
  disk: intoDisk,
  memory: intoMemory,
};

async function roomHere(): Promise<number> {
  try {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    return quota - usage;
  } catch {
    return 0;
  }
}

/** The browser writes beside it and puts it in place when it is closed: a half file is never in the person's way. */
async function intoFile(handle: FileSystemFileHandle): Promise<Target> {
  const writable = await handle.createWritable();
  return { way: 'file', handle, write: (bytes) => writable.write(bytes), close: () => writable.close(), abort: () => writable.abort() };
}

/** How often the service worker is told that it is needed, milliseconds: Firefox stops one after thirty seconds of silence. */
const STAY_MS = 10_000;
/** One that does not start by then is not there, milliseconds. */
const START_MS = 10_000;

async function intoDownload(name: string, size: number): Promise<Target> {
  const worker = await soon(downloadWorker());
  const id = crypto.randomUUID();
  const { port1: port, port2 } = new MessageChannel();
  let ask: (more: boolean) => void = () => undefined;
  let wanted = new Promise<boolean>((answer) => (ask = answer));
  const target: Target = {
    way: 'stream',
    async write(bytes) {
      if (!(await wanted)) return;
      wanted = new Promise<boolean>((answer) => (ask = answer));
      port.postMessage(bytes, [bytes.buffer]);
    },
    // When it has taken the end, all before is its own.
    close: async () => {
      const taken = await wanted;
      end(taken ? 'end' : 'failed');
      if (!taken) throw new Error('the person cancelled it in the browser');
    },
    abort: async () => end('failed'),
  };
  const frame = document.createElement('iframe');
  await soon(
    new Promise<void>((ready) => {
      port.onmessage = ({ data }) => {
        if (data === 'ready') ready();
        else ask(data === 'more');
        if (data === 'cancelled') target.onabort?.();
      };
      worker.postMessage({ id, name, size, port: port2 }, [port2]);
    }),
  );
  // Only a worker that takes it is kept awake, until it has all of it.
  const stay = setInterval(() => worker.postMessage('stay'), STAY_MS);
  const end = (word: string): void => {
    port.postMessage(word);
    clearInterval(stay);
    // The browser has taken over what the frame began.
    setTimeout(() => frame.remove(), STAY_MS);
  };
  frame.hidden = true;
  frame.src = `/download/${id}`;
  document.body.append(frame);
  return target;
}

async function downloadWorker(): Promise<ServiceWorker> {
  const registration = await navigator.serviceWorker.register('/download/worker.js');
  const worker = registration.active ?? registration.waiting ?? registration.installing!;
  while (worker.state !== 'activated') {
    if (worker.state === 'redundant') throw new Error('the service worker did not start');
    await new Promise((changed) => worker.addEventListener('statechange', changed, { once: true }));
  }
  return worker;
}

const soon = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([promise, new Promise<never>((_, late) => setTimeout(() => late(new Error('too late')), START_MS))]);

/** Files of this origin that were saved: the browser reads them for a while, so they are deleted by the next one. */
export const SAVES = 'saves';

async function intoDisk(name: string): Promise<Target> {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(SAVES, { recursive: true }).catch(() => undefined);
  const handle = await (await root.getDirectoryHandle(SAVES, { create: true })).getFileHandle(crypto.randomUUID(), { create: true });
  const writable = await handle.createWritable();
  const close = async (): Promise<void> => {
    await writable.close();
    give(await handle.getFile(), name);
  };
  return { way: 'disk', write: (bytes) => writable.write(bytes), close, abort: () => writable.abort() };
}

/** A Blob of Blobs: the browser takes each off this page's heap, to its disk where they are many. */
function intoMemory(name: string): Target {
  let parts: Blob[] = [];
  return {
    way: 'memory',
    write: async (bytes) => parts.push(new Blob([bytes])),
    close: async () => give(new Blob(parts, { type: 'application/octet-stream' }), name),
    abort: async () => void (parts = []),
  };
}

function give(blob: Blob, name: string): void {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  document.body.appendChild(anchor).click();
  anchor.remove();
  // The browser reads the blob after the click; a minute is plenty to begin.
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}
