// Reloads and crashes cost nothing: what is here is kept on this browser's disk, announced at the next visit, and not fetched twice.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killProfile } from '../lib/browsers.ts';
import { saved } from '../lib/download.ts';
import { BUNNY, b3sum, film, noise, sha256 } from '../lib/media.ts';
import { plays, shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** All of it is here, and on the disk, the last manifest too, which has the hash. */
const kept = (peer: Peer) => peer.until('view', (stats) => stats.complete && stats.blake3 !== null && stats.bytes_stored >= stats.bytes_verified);

/** The files of everything that this browser keeps: name and size. */
const files = (peer: Peer): Promise<Record<string, number>> =>
  peer.page.evaluate(async () => {
    const found: Record<string, number> = {};
    const look = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const entry of (folder as unknown as { values(): AsyncIterable<FileSystemHandle> }).values()) {
        if (entry.kind === 'directory') await look(entry as FileSystemDirectoryHandle);
        else found[entry.name] = (await (entry as FileSystemFileHandle).getFile()).size;
      }
    };
    await look(await navigator.storage.getDirectory());
    return found;
  });

test('a reload announces what is here and fetches nothing twice', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  const before = await kept(viewer);

  await viewer.page.reload();
  await shown(viewer.page);
  const after = await viewer.until('view', (stats) => stats.complete && stats.peers.length > 0);
  expect(after.bytes_verified).toBe(before.bytes_verified);
  expect(after.bytes_received).toBe(0);
  expect(after.rejected_blocks).toBe(0);
  // The others know it, too.
  await publisher.until('share', (stats) => stats.complete_peers === 1);
});

test('the next visit needs nobody, and serves whoever comes', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(await film('moov-end.mp4'));
  await viewer.open(link);
  await kept(viewer);
  await viewer.go();
  await publisher.leave();

  await viewer.open(link);
  await shown(viewer.page);
  await plays(viewer.page);
  const visitor = await newPeer();
  await visitor.open(link);
  await shown(visitor.page);
  const stats = await visitor.until('view', (stats) => stats.complete);
  expect(stats.from_viewers).toBe(stats.bytes_received);
  expect((await viewer.stats('view'))!.bytes_received).toBe(0);
});

test('a browser that is killed in the middle goes on where it was', async ({ newPeer }) => {
  const profile = mkdtempSync(join(tmpdir(), 'baton-profile-'));
  const path = await noise('noise-24.bin', 24 << 20);
  const publisher = await newPeer();
  const link = await publisher.share(path);
  await publisher.setUpload('share', { bytesPerSecond: 1_500_000 });
  const viewer = await newPeer({ profile });
  await viewer.open(link);
  const before = await viewer.until('view', (stats) => stats.bytes_stored > 6_000_000);
  expect(before.complete).toBe(false);
  killProfile(profile);

  const again = await newPeer({ profile });
  await publisher.setUpload('share', { bytesPerSecond: null });
  await again.open(link);
  const after = await kept(again);
  expect(after.bytes_received + before.bytes_stored).toBeLessThanOrEqual(after.bytes_verified);
  expect(after.rejected_blocks).toBe(0);
  const file = await saved(again, () => again.page.getByTestId('download').click());
  expect(sha256(file.bytes)).toBe(sha256(path));
  await again.leave();
  rmSync(profile, { recursive: true, force: true });
});

test('a second tab of the same film has its blocks in memory, and takes the disk over when the first one closes', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.open(link);
  await kept(viewer);
  const tab = await viewer.context.newPage();
  await tab.goto(link);
  await shown(tab);
  const stored = () => tab.evaluate(() => (window as { baton?: { view: { stats(): { bytes_stored: number } } } }).baton!.view.stats().bytes_stored);
  expect(await stored()).toBe(0);
  await viewer.page.close();
  await expect.poll(stored, { timeout: 60_000 }).toBeGreaterThan(1_000_000);
});

for (const harm of ['flipped bits', 'a torn log', 'lost blocks'] as const) {
  test(`${harm} are noticed, dropped and fetched again`, async ({ newPeer }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    const link = await publisher.share(BUNNY);
    await viewer.open(link);
    await kept(viewer);
    // The share page has no stream open: nobody holds the files.
    await viewer.go();
    await viewer.page.evaluate(async (harm) => {
      const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('baton');
      for await (const folder of (all as unknown as { values(): AsyncIterable<FileSystemDirectoryHandle> }).values()) {
        const file = await folder.getFileHandle(harm === 'a torn log' ? 'log' : 'blocks');
        const { size } = await file.getFile();
        const writable = await file.createWritable({ keepExistingData: true });
        if (harm === 'flipped bits') {
          for (let at = 100_000; at < size; at += 1_000_000) await writable.write({ type: 'write', position: at, data: 'wrong' });
        } else await writable.truncate(Math.floor(size / 2));
        await writable.close();
      }
    }, harm);

    await viewer.open(link);
    await shown(viewer.page);
    const file = await saved(viewer, () => viewer.page.getByTestId('download').click());
    expect(sha256(file.bytes)).toBe(sha256(BUNNY));
    const stats = await kept(viewer);
    expect(stats.rejected_blocks).toBe(0);
    expect(stats.bytes_received).toBeGreaterThan(0);
    expect(stats.bytes_received).toBeLessThan(stats.size);
    expect(stats.blake3).toBe(b3sum(BUNNY));
  });
}

test('who asks for memory leaves nothing on the disk', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(await noise('noise-2.bin', 2 << 20));
  await viewer.go();
  const stored = await viewer.page.evaluate(async (link) => {
    const { Client } = (await import('/client.js' as string)) as typeof import('../../web/src/api.ts');
    const view = (await Client.start({ storage: 'memory' })).open(link);
    await view.fetchAll();
    return view.stats().bytes_stored;
  }, link);
  expect(stored).toBe(0);
  expect(await files(viewer)).toEqual({});
});

/** Fills the origin with folders of so many bytes each, in this order; the first one's lock is held as by another tab. */
function fill([open, ...others]: [string, ...string[]], bytes: number): (peer: Peer) => Promise<void> {
  return (peer) =>
    peer.page.evaluate(
      async ({ open, others, bytes }) => {
        void navigator.locks.request(`baton ${open}`, () => new Promise(() => undefined));
        const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('baton', { create: true });
        for (const name of [open, ...others]) {
          const folder = await all.getDirectoryHandle(name, { create: true });
          const file = await (await folder.getFileHandle('blocks', { create: true })).createWritable();
          await file.write(new Uint8Array(bytes));
          await file.close();
        }
      },
      { open, others, bytes },
    );
}

test('streams that nobody has open make room, the oldest first', async ({ newPeer, browserName }) => {
  test.skip(browserName === 'firefox', 'its quota cannot be set');
  const publisher = await newPeer();
  // Chromium says 10 GB more than there is in use, whatever the quota, unless it is told not to.
  const viewer = await newPeer({ launch: { args: ['--disable-features=StaticStorageQuota'] } });
  await viewer.go();
  await fill(['open', 'older', 'newer'], 50e6)(viewer);
  const session = await viewer.page.context().newCDPSession(viewer.page);
  const origin = new URL(viewer.page.url()).origin;
  // A hundred million of them may be kept: one folder has to go, and then there is room for the film and its log.
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 220e6 });
  await viewer.open(await publisher.share(BUNNY));
  await kept(viewer);
  const names = await viewer.page.evaluate(async () => {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('baton');
    const found: string[] = [];
    for await (const name of (all as unknown as { keys(): AsyncIterable<string> }).keys()) found.push(name);
    return found.filter((name) => !/^[0-9a-f]{32}$/.test(name)).sort();
  });
  expect(names).toEqual(['newer', 'open']);
});

/** Of this origin, as if its disk were so small. */
async function setQuota(peer: Peer, quotaSize: number): Promise<void> {
  const session = await peer.page.context().newCDPSession(peer.page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(peer.page.url()).origin, quotaSize });
}

/** What this origin uses, bytes. */
const usage = (peer: Peer): Promise<number> => peer.page.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);

for (const when of ['from the start', 'in the middle'] as const) {
  test(`a disk too small ${when}: what is farthest goes, others are told, and a download streams past it`, async ({ newPeer, browserName }) => {
    test.skip(browserName === 'firefox', 'its quota cannot be set');
    const path = await noise('noise-24.bin', 24 << 20);
    const publisher = await newPeer();
    const viewer = await newPeer({ launch: { args: ['--disable-features=StaticStorageQuota'] } });
    await viewer.go();
    // 64 MiB of it are left to others.
    if (when === 'from the start') await setQuota(viewer, 76e6);
    const link = await publisher.share(path);
    await publisher.setUpload('share', { bytesPerSecond: 6_000_000 });
    await viewer.open(link);
    if (when === 'in the middle') {
      await viewer.until('view', (stats) => stats.bytes_stored > 6_000_000);
      await setQuota(viewer, (await usage(viewer)) + 1_000_000);
    }
    await publisher.setUpload('share', { bytesPerSecond: null });
    const file = await saved(viewer, () => viewer.page.getByTestId('download').click());
    expect(sha256(file.bytes)).toBe(sha256(path));
    const after = (await viewer.stats('view'))!;
    expect(after.complete).toBe(false);
    expect(after.have).toBeLessThan(0.7);
    expect(after.rejected_blocks).toBe(0);
    expect(after.problem).toBe(null);
    // The publisher knows what is there no longer.
    await publisher.until('share', (stats, have) => Math.abs(stats.peers[0]!.complete - have) < 0.2, { argument: after.have });
  });
}
