// Large files are saved as a stream: into a file, through the browser's own download, or into memory; and gone on with after a reload.
import { saved } from '../lib/download.ts';
import { b3sum, noise, sha256 } from '../lib/media.ts';
import type { PeerOptions } from '../lib/peer.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** More than what is saved without a stream. */
const LARGE = 66_000_001;
const large = (): Promise<string> => noise('large.bin', LARGE);

/** Where the browser asks for a file, the origin's own disk answers: the handle is of the same kind, and no driver answers a dialog. */
function picksOwnDisk(): void {
  Object.assign(window, {
    showSaveFilePicker: async ({ suggestedName }: { suggestedName: string }) =>
      (await navigator.storage.getDirectory()).getFileHandle(`picked ${suggestedName}`, { create: true }),
  });
}

/** A browser without that. */
function picksNothing(): void {
  Object.assign(window, { showSaveFilePicker: undefined });
}

/** SHA-256 of what was written there, in hex. */
const picked = (peer: Peer): Promise<string> =>
  peer.page.evaluate(async () => {
    const handle = await (await navigator.storage.getDirectory()).getFileHandle('picked large.bin');
    const hash = await crypto.subtle.digest('SHA-256', await (await handle.getFile()).arrayBuffer());
    return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  });

const row = (peer: Peer) => peer.page.getByTestId('save');

/** Saved, and compared with what the publisher hashed. */
async function checked(peer: Peer, path: string): Promise<void> {
  await expect(row(peer)).toHaveAttribute('data-phase', 'saved', { timeout: 120_000 });
  const hash = peer.page.getByTestId('save-hash');
  await expect(hash).toHaveAttribute('data-checked', 'true', { timeout: 60_000 });
  await expect(hash).toContainText(b3sum(path));
}

/** A viewer has begun to save the large file, which comes no faster than this. */
async function begun(newPeer: (options?: PeerOptions) => Promise<Peer>, bytesPerSecond: number): Promise<{ publisher: Peer; viewer: Peer; path: string }> {
  const path = await large();
  const publisher = await newPeer();
  const viewer = await newPeer({ init: picksOwnDisk });
  const link = await publisher.share(path);
  await publisher.setUpload('share', { bytesPerSecond });
  await viewer.open(link);
  await viewer.page.getByTestId('download').click();
  return { publisher, viewer, path };
}

test('a large file is written into the file that was chosen; it pauses, and goes on', async ({ newPeer }) => {
  const { publisher, viewer, path } = await begun(newPeer, 2_000_000);
  await expect(row(viewer)).toHaveAttribute('data-way', 'file');
  // How far, how fast, how long.
  await expect(row(viewer)).toContainText(/\d MB of 66 MB.*MB\/s.*left/, { timeout: 30_000 });
  await row(viewer).getByRole('button', { name: 'Pause' }).click();
  await expect(row(viewer)).toContainText('paused');
  await row(viewer).getByRole('button', { name: 'Go on' }).click();
  await publisher.setUpload('share', { bytesPerSecond: null });
  await checked(viewer, path);
  expect(await picked(viewer)).toBe(sha256(path));
});

test('what a reload broke off goes on into the same file, and nothing is fetched twice', async ({ newPeer }) => {
  const { publisher, viewer, path } = await begun(newPeer, 2_000_000);
  const before = await viewer.until('view', (stats) => stats.bytes_stored > 8_000_000);
  await viewer.page.reload();
  await publisher.setUpload('share', { bytesPerSecond: null });
  const offer = viewer.page.getByTestId('save-offer');
  await expect(offer).toContainText('This page was saving large.bin when it was closed.');
  await offer.getByRole('button', { name: 'Go on' }).click();
  await checked(viewer, path);
  expect(await picked(viewer)).toBe(sha256(path));
  const after = await viewer.until('view', (stats) => stats.complete);
  expect(after.bytes_received + before.bytes_stored).toBeLessThanOrEqual(after.bytes_verified);
  // It is not offered again.
  await viewer.page.reload();
  await expect(viewer.page.getByTestId('download')).toBeVisible();
  await expect(offer).toHaveCount(0);
});

test('who cancels has no file', async ({ newPeer }) => {
  const { viewer } = await begun(newPeer, 2_000_000);
  await expect(row(viewer)).toContainText(/\d MB of 66 MB/);
  await row(viewer).getByRole('button', { name: 'Cancel' }).click();
  await expect(row(viewer)).toHaveAttribute('data-phase', 'cancelled');
  const size = await viewer.page.evaluate(async () => (await (await (await navigator.storage.getDirectory()).getFileHandle('picked large.bin')).getFile()).size);
  expect(size).toBe(0);
  await expect(viewer.page.getByTestId('download')).toHaveText('Download');
});

test('without such a file it goes through the browser’s own download', async ({ newPeer }) => {
  const path = await large();
  const publisher = await newPeer();
  const viewer = await newPeer({ init: picksNothing });
  await viewer.open(await publisher.share(path));
  const file = await saved(viewer, () => viewer.page.getByTestId('download').click(), 120_000);
  await expect(row(viewer)).toHaveAttribute('data-way', 'stream');
  expect(file.name).toBe('large.bin');
  expect(sha256(file.bytes)).toBe(sha256(path));
  await checked(viewer, path);
});

test('on a page without a secure address it goes into memory', async ({ newPeer, server }) => {
  const path = await large();
  const base = `http://lan.test:${server.port}`;
  const publisher = await newPeer({ base, launch: { hosts: ['lan.test'] } });
  const viewer = await newPeer({ base, launch: { hosts: ['lan.test'] } });
  await viewer.open(await publisher.share(path));
  const file = await saved(viewer, () => viewer.page.getByTestId('download').click(), 120_000);
  await expect(row(viewer)).toHaveAttribute('data-way', 'memory');
  expect(sha256(file.bytes)).toBe(sha256(path));
  await checked(viewer, path);
});

test('a stream by the API holds every byte in its order', async ({ newPeer }) => {
  const path = await noise('noise-3.bin', 3 << 20);
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(path));
  const [parts, hash] = await viewer.page.evaluate(async () => {
    const { baton } = window as unknown as { baton: { view: import('../../web/src/api.ts').View | null } };
    while (!baton?.view) await new Promise((resolve) => requestAnimationFrame(resolve));
    const reader = (await baton.view.stream()).getReader();
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
    const hash = await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer());
    return [parts.map((part) => part.length), [...new Uint8Array(hash)]];
  });
  expect(parts).toEqual([1 << 20, 1 << 20, 1 << 20]);
  expect(Buffer.from(hash).toString('hex')).toBe(sha256(path));
});
