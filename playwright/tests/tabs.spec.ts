// The tabs of one browser that have the same stream open: one of them is in its swarm, and nothing comes twice.
import type { Page } from '@playwright/test';
import { BUNNY, b3sum, film } from '../lib/media.ts';
import { plays, seek, shown, state } from '../lib/player.ts';
import { expect, test, type Peer, type Stats } from '../lib/test.ts';
import type { Server } from '../lib/server.ts';

const SIZE = 4_139_823;
/** What was on its way when somebody left comes again: a publisher's window at these rates, and what was not on the disk yet. */
const ON_ITS_WAY = 700_000;

const statsOf = (page: Page, side: 'view' | 'share' = 'view'): Promise<Stats> =>
  page.evaluate((side) => (window as unknown as { baton: Record<string, { stats(): unknown } | null> }).baton[side]?.stats() as Stats, side);

const when = (page: Page, what: keyof Stats | ((stats: Stats) => unknown)) =>
  expect.poll(
    async () => {
      const stats = await statsOf(page);
      return stats && (typeof what === 'function' ? what(stats) : stats[what]);
    },
    { timeout: 60_000 },
  );

/** Another tab of this person's browser, with this link. */
async function anotherTab(peer: Peer, link: string): Promise<Page> {
  const tab = await peer.context.newPage();
  await tab.goto(link);
  return tab;
}

/** How many members all swarms of the server have. */
const members = async (server: Server): Promise<number> => Number(/^baton_peers (\d+)/m.exec(await (await fetch(`${server.url}/metrics`)).text())![1]);
/** How many have ever joined. */
const joins = async (server: Server): Promise<number> => Number(/^baton_joins_total (\d+)/m.exec(await (await fetch(`${server.url}/metrics`)).text())![1]);

test('a second tab has everything from the first: one member, one copy', async ({ newPeer, newServer }) => {
  const server = await newServer();
  const publisher = await newPeer({ base: server.url });
  const viewer = await newPeer({ base: server.url });
  const link = await publisher.share(BUNNY);
  await viewer.open(link);
  await viewer.until('view', (stats) => stats.complete);

  const tab = await anotherTab(viewer, link);
  await shown(tab);
  await plays(tab);
  await when(tab, 'complete').toBe(true);
  const stats = await statsOf(tab);
  expect(stats.blake3).toBe(b3sum(BUNNY));
  expect([stats.bytes_received, stats.rejected_blocks, stats.problem]).toEqual([0, 0, null]);
  // Nor is that what one gives to others.
  expect((await viewer.stats('view'))!.bytes_sent).toBe(0);
  expect(await members(server)).toBe(2);
  expect(await joins(server)).toBe(2);
  const given = (await publisher.stats('share'))!;
  expect(given.peers.length).toBe(1);
  expect(given.bytes_sent).toBeLessThan(SIZE + 100_000);
});

test('where a second tab looks, the first one fetches', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  await publisher.setUpload('share', { bytesPerSecond: 250_000 });
  await viewer.open(link);
  await shown(viewer.page);
  // However long a busy machine takes to open a tab, most of the film is not here yet; and then it takes a minute and a half.
  await publisher.setUpload('share', { bytesPerSecond: 20_000 });
  const tab = await anotherTab(viewer, link);
  await shown(tab);
  await seek(tab, 27);
  await publisher.setUpload('share', { bytesPerSecond: 100_000 });
  await shown(tab, { from: 27 });
  const first = (await viewer.stats('view'))!;
  expect(first.have).toBeLessThan(0.8);
  expect((await publisher.stats('share'))!.peers.length).toBe(1);
});

for (const how of ['is closed', 'goes elsewhere'] as const) {
  test(`the first tab ${how}: the second plays on, and nothing comes twice`, async ({ newPeer, newServer }) => {
    const server = await newServer();
    const publisher = await newPeer({ base: server.url });
    const viewer = await newPeer({ base: server.url });
    const link = await publisher.share(BUNNY);
    await publisher.setUpload('share', { bytesPerSecond: 150_000 });
    await viewer.open(link);
    await shown(viewer.page);
    const tab = await anotherTab(viewer, link);
    await shown(tab);
    await viewer.until('view', (stats) => stats.bytes_stored > 1_500_000);
    expect(await members(server)).toBe(2);
    expect((await statsOf(tab)).bytes_received).toBe(0);

    if (how === 'is closed') await viewer.page.close();
    else await viewer.page.goto('about:blank');
    await when(tab, 'complete').toBe(true);
    await when(tab, (stats) => stats.bytes_stored >= stats.bytes_verified).toBe(true);
    await plays(tab);
    await seek(tab, 28);
    await expect.poll(async () => (await state(tab)).ended, { timeout: 60_000 }).toBe(true);
    const stats = await statsOf(tab);
    expect([stats.rejected_blocks, stats.problem]).toEqual([0, null]);
    expect(await members(server)).toBe(2);
    expect((await publisher.stats('share'))!.bytes_sent).toBeLessThan(SIZE + ON_ITS_WAY);
  });
}

test('the first tab is loaded again: the second leads, the first has everything from it', async ({ newPeer, newServer }) => {
  const server = await newServer();
  const publisher = await newPeer({ base: server.url });
  const viewer = await newPeer({ base: server.url });
  const link = await publisher.share(BUNNY);
  await viewer.open(link);
  await viewer.until('view', (stats) => stats.complete && stats.bytes_stored >= stats.bytes_verified);
  const tab = await anotherTab(viewer, link);
  await shown(tab);

  await viewer.page.reload();
  await when(tab, (stats) => stats.peers.length).toBe(1);
  await shown(viewer.page);
  await plays(viewer.page);
  await when(viewer.page, 'complete').toBe(true);
  expect((await statsOf(viewer.page)).bytes_received).toBe(0);
  expect((await statsOf(tab)).bytes_received).toBe(0);
  expect(await members(server)).toBe(2);
  expect((await publisher.stats('share'))!.bytes_sent).toBeLessThan(SIZE + 100_000);
});

test('a tab that leads and answers nobody is not waited for', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.go();
  // As a page that a telephone has put to sleep: it has the lock still.
  await viewer.page.evaluate((fragment) => {
    // Rejected when it is taken from it.
    navigator.locks.request(`baton seat ${fragment}`, () => new Promise(() => undefined)).catch(() => undefined);
  }, new URL(link).hash.slice(1));
  const tab = await anotherTab(viewer, link);
  await shown(tab);
  await when(tab, 'complete').toBe(true);
  await publisher.until('share', (stats) => stats.peers.length === 1);
});

test("a publisher's own second tab watches from the first, and stays when that is closed", async ({ newPeer, newServer }) => {
  const server = await newServer();
  const publisher = await newPeer({ base: server.url });
  const link = await publisher.share(BUNNY);
  const tab = await anotherTab(publisher, link);
  await shown(tab);
  await plays(tab);
  await when(tab, 'complete').toBe(true);
  const given = (await publisher.stats('share'))!;
  // To this person's own tab nothing was given, and the stream is nowhere else yet.
  expect([given.bytes_sent, given.peers.length, given.complete_peers]).toEqual([0, 0, 0]);
  expect(await members(server)).toBe(1);

  await publisher.page.close();
  const visitor = await newPeer({ base: server.url });
  await visitor.open(link);
  await shown(visitor.page);
  const stats = await visitor.until('view', (stats) => stats.complete);
  expect(stats.from_viewers).toBe(stats.bytes_received);
  expect(await members(server)).toBe(2);
});

test('a publisher that is loaded again leads once more', async ({ newPeer, newServer }) => {
  const server = await newServer();
  const publisher = await newPeer({ base: server.url });
  const link = await publisher.share(BUNNY);
  await expect(publisher.page.getByText('rests until you open Baton in this browser again')).toBeVisible();
  const tab = await anotherTab(publisher, link);
  await shown(tab);
  publisher.page.on('dialog', (dialog) => void dialog.accept());
  await publisher.page.reload();
  const offer = publisher.page.getByTestId('resume');
  await expect(offer).toBeVisible();
  // Meanwhile the other tab is in the swarm.
  await expect.poll(() => joins(server)).toBe(2);
  await offer.getByTestId('resume-input').setInputFiles(BUNNY);
  await expect(publisher.page.getByTestId('share-url')).toHaveValue(link);
  await expect.poll(() => joins(server)).toBe(3);
  await expect.poll(() => members(server)).toBe(1);
  const visitor = await newPeer({ base: server.url });
  await visitor.open(link);
  await shown(visitor.page);
  await visitor.until('view', (stats) => stats.complete);
  expect((await statsOf(tab)).problem).toBe(null);
});
