// What this browser keeps: listed, passed on while any page is open, deleted.
import { BUNNY, noise } from '../lib/media.ts';
import { shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** All of it is here and on the disk. */
const kept = (peer: Peer) => peer.until('view', (stats) => stats.complete && stats.blake3 !== null && stats.bytes_stored >= stats.bytes_verified);

/** The page has written down that all of it is here. */
const noted = (peer: Peer): Promise<void> =>
  expect
    .poll(
      () =>
        peer.page.evaluate(
          () =>
            new Promise<number>((answer) => {
              const opening = indexedDB.open('baton');
              opening.onsuccess = () => {
                const database = opening.result;
                const done = (have: number): void => {
                  database.close();
                  answer(have);
                };
                if (!database.objectStoreNames.contains('streams')) return done(0);
                const asked = database.transaction('streams').objectStore('streams').getAll() as IDBRequest<{ have: number }[]>;
                asked.onsuccess = () => done(Math.min(asked.result.length, ...asked.result.map(({ have }) => have)));
              };
            }),
        ),
      { timeout: 30_000 },
    )
    .toBe(1);

/** Names of what is in `baton/`. */
const folders = (peer: Peer): Promise<string[]> =>
  peer.page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('baton', { create: true });
    const found: string[] = [];
    for await (const name of (root as unknown as { keys(): AsyncIterable<string> }).keys()) found.push(name);
    return found;
  });

const rows = (peer: Peer) => peer.page.getByTestId('library-stream');

test('what was watched is listed, opened from there without fetching it again, and deleted for good', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  await kept(viewer);
  await noted(viewer);
  await viewer.page.getByRole('link', { name: 'Library' }).click();
  await expect(rows(viewer)).toHaveCount(1);
  await expect(rows(viewer)).toContainText('big-buck-bunny-480p-30s.mp4');
  await expect(rows(viewer)).toContainText('all of 4.1 MB');
  await expect(rows(viewer)).toContainText('taken 4.');
  const room = viewer.page.getByTestId('library-room');
  expect(Number(await room.getAttribute('data-used'))).toBeGreaterThan(4e6);

  await rows(viewer).getByRole('link', { name: 'Open' }).click();
  await shown(viewer.page);
  expect((await kept(viewer)).bytes_received).toBe(0);

  await viewer.go('/library');
  viewer.page.on('dialog', (dialog) => void dialog.accept());
  await rows(viewer).getByRole('button', { name: 'Delete' }).click();
  await expect(rows(viewer)).toHaveCount(0);
  await expect(viewer.page.getByText('Nothing yet.')).toBeVisible();
  expect(await folders(viewer)).toEqual([]);
  // What is left is the records and the browser's own books.
  await expect.poll(async () => Number(await room.getAttribute('data-used'))).toBeLessThan(1e6);
});

test('a page that is open passes on what is kept, and gives it to the tab that opens it', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.open(link);
  await kept(viewer);
  await noted(viewer);
  await viewer.go('/library');
  await expect(rows(viewer)).toHaveAttribute('data-state', 'here', { timeout: 60_000 });
  await publisher.leave();
  const visitor = await newPeer();
  await visitor.open(link);
  await shown(visitor.page);
  await visitor.until('view', (stats) => stats.complete);
  await expect(rows(viewer)).toContainText(/given 4\.\d MB/, { timeout: 60_000 });

  // The tab that opens it has the disk.
  const tab = await viewer.context.newPage();
  await tab.goto(link);
  await shown(tab);
  const stats = () => tab.evaluate(() => (window as { baton?: { view: { stats(): { complete: boolean; bytes_stored: number; bytes_received: number } } } }).baton!.view.stats());
  await expect.poll(async () => (await stats()).bytes_stored).toBeGreaterThan(4e6);
  await expect(rows(viewer)).toHaveAttribute('data-state', 'elsewhere');
  await tab.close();
  await expect(rows(viewer)).toHaveAttribute('data-state', 'here', { timeout: 60_000 });

  await rows(viewer).getByRole('switch').uncheck({ force: true });
  await expect(rows(viewer)).toHaveAttribute('data-state', 'stopped');
  await visitor.until('view', (stats) => stats.peers.length === 0);
});

test('what another tab has open is not deleted', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  await kept(viewer);
  await noted(viewer);
  const tab = await viewer.context.newPage();
  await tab.goto(`${viewer.base}/library`);
  tab.on('dialog', (dialog) => void dialog.accept());
  await expect(tab.getByTestId('library-stream')).toHaveAttribute('data-state', 'elsewhere');
  await tab.getByRole('button', { name: 'Delete' }).click();
  await expect(tab.getByTestId('library-news')).toContainText('is open in another tab');
  expect(await folders(viewer)).toHaveLength(1);
});

test('shares that rest are listed and forgotten, and what others left behind is cleared away', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(await noise('noise-3.bin', 3 << 20));
  await expect(publisher.page.getByText('rests until you open Baton in this browser again')).toBeVisible();
  publisher.page.on('dialog', (dialog) => void dialog.accept());
  // A share whose key nobody has any more.
  await publisher.page.evaluate(async () => {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('baton');
    const folder = await all.getDirectoryHandle('share-left-behind', { create: true });
    const file = await (await folder.getFileHandle('log', { create: true })).createWritable();
    await file.write(new Uint8Array(500_000));
    await file.close();
  });
  await publisher.go('/library');
  await expect(publisher.page.getByTestId('library-news')).toHaveText('Cleared away: what a share left behind, 500 KB.');
  const share = publisher.page.getByTestId('library-share');
  await expect(share).toContainText('noise-3.bin');
  await expect(share).toContainText('Rests until you go on with it');
  await share.getByRole('button', { name: 'Delete' }).click();
  await expect(share).toHaveCount(0);
  expect(await folders(publisher)).toEqual([]);
});

test('a page without a secure address says that it keeps nothing', async ({ newPeer, server }) => {
  const viewer = await newPeer({ base: `http://lan.test:${server.port}`, launch: { hosts: ['lan.test'] } });
  await viewer.go('/library');
  await expect(viewer.page.getByTestId('library-trouble')).toContainText('only for pages with a secure address');
});

test('a private window says that it keeps nothing', async ({ newPeer, browserName }) => {
  test.skip(browserName === 'chromium', 'its private windows keep things until they are closed');
  const viewer = await newPeer({ launch: { prefs: { 'browser.privatebrowsing.autostart': true } } });
  await viewer.go('/library');
  await expect(viewer.page.getByTestId('library-trouble')).toContainText('keeps nothing for Baton here');
  const publisher = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.complete);
});
