// A publisher that reloads goes on under the same link, and signs nothing that an earlier page signed otherwise.
import type { Client, Share } from '../../web/src/api.ts';
import { saved } from '../lib/download.ts';
import { noise, sha256 } from '../lib/media.ts';
import { expect, test, type Peer } from '../lib/test.ts';

type Page = { baton?: { client: Client | null; share: Share | null }; noise: (length: number) => Uint8Array<ArrayBuffer> };

/** `noise` of lib/media.ts in the page: three million numbers as an argument take the drivers of both browsers longer than a test has. */
function noiseHere(): void {
  (window as unknown as Page).noise = (length) => {
    const words = new Uint32Array(length / 4);
    let state = 1;
    for (let at = 0; at < words.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[at] = state >>> 0;
    }
    return new Uint8Array(words.buffer);
  };
}

/** The engine of the share page is there. */
const ready = async (peer: Peer): Promise<void> => {
  await peer.go();
  await expect.poll(() => peer.page.evaluate(() => !!(window as unknown as Page).baton?.client)).toBe(true);
};

/** Shares by the API, as an embedder does, and gives back link and key once the key can be used. */
const begin = (peer: Peer): Promise<{ link: string; key: number[] }> =>
  peer.page.evaluate(async (length) => {
    const { baton, noise } = window as unknown as Page;
    const share = baton!.client!.share([new File([noise(length)], 'film.bin')], { keep: true });
    baton!.share = share;
    while (share.stats().bytes_stored === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    return { link: share.url, key: [...share.key] };
  }, LENGTH);

/** Goes on with a share in another page; the link, or the error. */
const resume = (peer: Peer, key: number[], change: 'none' | 'shorter' | 'other bytes'): Promise<string> =>
  peer.page.evaluate(
    ([key, change, length]) => {
      const { baton, noise } = window as unknown as Page;
      let bytes = noise(length);
      if (change === 'shorter') bytes = bytes.slice(1);
      if (change === 'other bytes') bytes[length - 1]! ^= 1;
      try {
        baton!.share = baton!.client!.share([new File([bytes], 'film.bin')], { resume: new Uint8Array(key) });
        return baton!.share.url;
      } catch (error) {
        return String(error);
      }
    },
    [key, change, LENGTH] as const,
  );

const LENGTH = 3 << 20;

test('a share goes on under the same link in a later page', async ({ newPeer }) => {
  const publisher = await newPeer({ init: noiseHere });
  await ready(publisher);
  const { link, key } = await begin(publisher);
  const early = await newPeer();
  await early.open(link);
  await early.until('view', (stats) => stats.complete);
  await publisher.until('share', (stats) => stats.blake3 !== null);
  await early.leave();

  await ready(publisher);
  expect(await resume(publisher, key, 'none')).toBe(link);
  const late = await newPeer();
  await late.open(link);
  const file = await saved(late, () => late.page.getByTestId('download').click());
  expect(sha256(file.bytes)).toBe(sha256(await noise('noise-3.bin', LENGTH)));
  const stats = await late.until('view', (stats) => stats.complete && stats.blake3 !== null);
  expect(stats.problem).toBe(null);
  expect(stats.from_viewers).toBe(0);
});

test('another file is refused at once, and a changed one before anybody gets two truths', async ({ newPeer }) => {
  const publisher = await newPeer({ init: noiseHere });
  await ready(publisher);
  const { link, key } = await begin(publisher);
  await publisher.until('share', (stats) => stats.blake3 !== null);

  await ready(publisher);
  expect(await resume(publisher, key, 'shorter')).toContain('not the files that were shared');
  expect(await resume(publisher, key, 'other bytes')).toBe(link);
  // The file is not read again in vain: what is asked for is checked.
  const viewer = await newPeer();
  await viewer.open(link);
  await publisher.until('share', (stats) => stats.problem?.code === 'file-changed');
});

/** The page has written down what it shares: its words say so. */
const written = (peer: Peer): Promise<void> => expect(peer.page.getByText('rests until you open Baton in this browser again')).toBeVisible();

/** Loads the page again, whatever it warns of. */
async function again(peer: Peer): Promise<void> {
  peer.page.on('dialog', (dialog) => void dialog.accept());
  await peer.page.reload();
}

/** Names of what this browser keeps of its own shares. */
const shareFolders = (peer: Peer): Promise<string[]> =>
  peer.page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const found: string[] = [];
    const all = (await root.getDirectoryHandle('baton', { create: true })) as unknown as { keys(): AsyncIterable<string> };
    for await (const name of all.keys()) if (name.startsWith('share-')) found.push(name);
    return found;
  });

test('the page goes on under the same link once the same file is chosen, and refuses another', async ({ newPeer }) => {
  const path = await noise('noise-3.bin', LENGTH);
  const publisher = await newPeer();
  const link = await publisher.share(path);
  await written(publisher);
  await again(publisher);
  const offer = publisher.page.getByTestId('resume');
  await expect(offer).toContainText('You were sharing noise-3.bin.');
  await offer.getByTestId('resume-input').setInputFiles(await noise('noise-1.bin', 1_500_000));
  await expect(publisher.page.getByRole('alert')).toContainText('That is not the file that you shared as noise-3.bin');

  await offer.getByTestId('resume-input').setInputFiles(path);
  await expect(publisher.page.getByTestId('share-url')).toHaveValue(link);
  const viewer = await newPeer();
  await viewer.open(link);
  const file = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(sha256(file.bytes)).toBe(sha256(path));
});

test('the page goes on by itself where it may read the file, in one tab only', async ({ newPeer }) => {
  const publisher = await newPeer({ init: noiseHere });
  await ready(publisher);
  await expect(publisher.page.getByTestId('file-input')).toBeAttached();
  // No driver drops a file of the disk; a file of the origin's own has the same handle, and its permission stays.
  await publisher.page.evaluate(async (length) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle('film.bin', { create: true });
    const writable = await handle.createWritable();
    await writable.write((window as unknown as Page).noise(length));
    await writable.close();
    Object.defineProperty(DataTransferItem.prototype, 'getAsFileSystemHandle', { value: () => Promise.resolve(handle) });
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(await handle.getFile());
    window.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  }, LENGTH);
  const field = publisher.page.getByTestId('share-url');
  await expect(field).toHaveValue(/#/);
  const link = await field.inputValue();
  await written(publisher);

  await again(publisher);
  await expect(field).toHaveValue(link);
  const other = await publisher.context.newPage();
  await other.goto(publisher.base);
  await expect(other.getByTestId('file-input')).toBeAttached();
  await expect(other.getByTestId('share-url')).toHaveCount(0);
  const viewer = await newPeer();
  await viewer.open(link);
  await viewer.until('view', (stats) => stats.complete);
});

test('of the files themselves nothing is copied', async ({ newPeer }) => {
  const publisher = await newPeer();
  const length = 32 << 20;
  await publisher.share(await noise('noise-32.bin', length));
  await written(publisher);
  const [records, used] = await publisher.page.evaluate(async () => {
    const done = <T>(request: IDBRequest<T>) => new Promise<T>((resolve) => (request.onsuccess = () => resolve(request.result)));
    const database = await done(indexedDB.open('baton'));
    const records: Record<string, unknown>[] = await done(database.transaction('shares').objectStore('shares').getAll());
    database.close();
    const { usage } = await navigator.storage.estimate();
    return [records.map((record) => Object.values(record).flat().filter((value) => value instanceof Blob).length), usage!] as const;
  });
  expect(records).toEqual([0]);
  expect(used).toBeLessThan(length / 2);
});

test('what was stopped is forgotten: no key and no folder stays', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(await noise('noise-3.bin', LENGTH));
  await written(publisher);
  expect(await shareFolders(publisher)).toHaveLength(1);
  publisher.page.on('dialog', (dialog) => void dialog.accept());
  await publisher.page.getByRole('button', { name: 'Stop sharing' }).click();
  await expect.poll(() => shareFolders(publisher)).toEqual([]);
  await publisher.page.reload();
  await expect(publisher.page.getByTestId('file-input')).toBeAttached();
  await expect(publisher.page.getByTestId('resume')).toHaveCount(0);
});
