// Several people: who has something passes it on, who lies is thrown out, and the publisher may leave.
import { BUNNY, film, secondOf } from '../lib/media.ts';
import { channelsStay } from '../lib/peer.ts';
import { colour, plays, seek, shown, state, watchFor } from '../lib/player.ts';
import { expect, test, type Peer, type Stats } from '../lib/test.ts';

const FILM_BYTES = 4_140_000;

/** The peers of a page by what they are and how much of theirs came here. */
const sources = (stats: { peers: { received: number }[] }): number => stats.peers.filter((peer) => peer.received > 64 * 1024).length;

test('the publisher may leave once a viewer has it all', async ({ newPeer }) => {
  const publisher = await newPeer();
  const first = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  await first.open(link);
  await first.until('view', (stats) => stats.complete);
  await expect(publisher.page.getByTestId('safe-to-leave')).toHaveAttribute('data-safe', 'true');
  await publisher.leave();

  const second = await newPeer();
  await second.open(link);
  await shown(second.page);
  await plays(second.page);
  const there = await watchFor(second.page, { from: 25, before: 27, hold: true });
  await seek(second.page, 25.2);
  await there();
  expect([25, 26]).toContain(secondOf(await colour(second.page)));
  const stats = await second.until('view', (stats) => stats.complete);
  expect(stats.from_viewers).toBeGreaterThan(10_000_000);
  await expect(second.page.getByTestId('offload')).toHaveText(/^100\s?%$/);

  // And so on: the next one has it from the second, when the first has left too.
  await first.leave();
  const third = await newPeer();
  await third.open(link);
  await shown(third.page);
  await third.until('view', (stats) => stats.complete);
});

test('who passes on is told what others confirmed', async ({ newPeer }) => {
  const publisher = await newPeer();
  const first = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  await first.open(link);
  await first.until('view', (stats) => stats.complete);
  // The publisher has it signed within some seconds, and nothing is confirmed of what the viewer did not give.
  const shared = await publisher.until('share', (stats) => stats.confirmed_by === 1);
  expect(shared.bytes_confirmed).toBeGreaterThan(1_000_000);
  expect(shared.bytes_confirmed).toBeLessThanOrEqual(shared.bytes_sent + 100_000);
  await expect(first.page.getByTestId('confirmed')).toHaveCount(0);
  await publisher.leave();

  const second = await newPeer();
  await second.open(link);
  await second.until('view', (stats) => stats.complete);
  const given = await first.until('view', (stats) => stats.bytes_confirmed > 1_000_000);
  expect([given.confirmed_by, given.bytes_confirmed <= given.bytes_sent + 100_000]).toEqual([1, true]);
  await expect(first.page.getByTestId('confirmed')).toHaveText(/^You passed on \d.*: \d.* confirmed by 1 other\.$/);
});

test('two viewers with different halves complete each other after the publisher has left', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  // Slow enough that nobody has everything before both together do, however long the second takes to come.
  await publisher.setUpload('share', { bytesPerSecond: 150_000 });
  const first = await newPeer();
  const second = await newPeer();
  for (const [viewer, at] of [[first, 0], [second, 15]] as const) {
    await viewer.open(link);
    await shown(viewer.page);
    // Next to nothing: who has paused altogether is nobody that a publisher may rely on.
    await viewer.setUpload('view', { bytesPerSecond: 1000 });
    await seek(viewer.page, at);
  }
  await publisher.setUpload('share', { bytesPerSecond: 1_000_000 });
  // In the very moment: it would go on to give each the other half.
  const pausesInTime = (stats: Stats): boolean => {
    const { baton } = window as unknown as { baton: { share: { setUpload(settings: object): void } } };
    if (stats.others >= 1) baton.share.setUpload({ paused: true });
    return stats.others >= 1;
  };
  await publisher.until('share', pausesInTime);
  await expect(publisher.page.getByTestId('safe-to-leave')).toHaveAttribute('data-safe', 'true');
  await publisher.leave();
  const halves = [(await first.stats('view'))!, (await second.stats('view'))!];
  expect(halves.map((stats) => stats.complete)).toEqual([false, false]);

  for (const viewer of [first, second]) await viewer.setUpload('view', { bytesPerSecond: null });
  // Each shows what it got from the other. On a busy machine the film is over by now, and a film that is over stays paused.
  for (const [viewer, missed] of [[first, 20], [second, 5]] as const) {
    const stats = await viewer.until('view', (stats) => stats.complete);
    expect(stats.from_viewers).toBeGreaterThan(0);
    await seek(viewer.page, missed);
    await shown(viewer.page, { from: missed, before: missed + 8 });
  }
});

test('whoever sends a wrong block is thrown out, and the film plays on from the others', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  const poisoner = await newPeer({
    // Every large message, which is blocks, leaves with its last byte turned: from the page, because nothing reaches into a worker.
    init: [channelsStay, () => {
      const send = RTCDataChannel.prototype.send as (this: RTCDataChannel, data: unknown) => void;
      RTCDataChannel.prototype.send = function (this: RTCDataChannel, data: unknown): void {
        if (data instanceof ArrayBuffer && data.byteLength > 8192) new Uint8Array(data)[data.byteLength - 1]! ^= 1;
        send.call(this, data);
      };
    }],
  });
  await poisoner.open(link);
  await publisher.until('share', (stats) => stats.complete_peers === 1);
  const liar = (await publisher.stats('share'))!.peers[0]!.id;

  // The publisher gives less than the film needs, so that the victim has to ask the liar too, once it may.
  await poisoner.setUpload('view', { paused: true });
  await publisher.setUpload('share', { bytesPerSecond: 150_000 });
  const victim = await newPeer();
  await victim.open(link);
  await shown(victim.page);
  await plays(victim.page, 1);
  expect((await victim.stats('view'))!.rejected_blocks).toBe(0);
  await poisoner.setUpload('view', { paused: false });
  const caught = await victim.until('view', (stats) => stats.rejected_blocks > 0);
  const left = await victim.until('view', (stats, liar) => stats.peers.every((peer) => peer.id !== liar), { argument: liar });
  expect(left.peers.length).toBe(1);
  expect(caught.complete).toBe(false);
  await expect(victim.page.getByText(/wrong and thrown away/)).toBeVisible();

  // It plays on from where it is.
  await plays(victim.page, 2);
  expect((await state(victim.page)).error).toBeNull();
  await publisher.setUpload('share', { bytesPerSecond: null });
  const whole = await victim.until('view', (stats) => stats.complete);
  expect(whole.problem).toBeNull();
  // It does not come back.
  expect(whole.peers.map((peer) => peer.id)).not.toContain(liar);
});

test('four viewers at once feed each other', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  // So slow that the first is not done before the last is there.
  await publisher.setUpload('share', { bytesPerSecond: 300_000 });
  const viewers: Peer[] = [];
  for (let i = 0; i < 4; i++) viewers.push(await newPeer());
  await Promise.all(viewers.map((viewer) => viewer.open(link)));
  const all = await Promise.all(viewers.map((viewer) => viewer.until('view', (stats) => stats.complete, { timeout: 120_000 })));
  for (const viewer of viewers) await plays(viewer.page);

  const { bytes_sent } = (await publisher.stats('share'))!;
  expect(bytes_sent).toBeLessThan(3 * FILM_BYTES);
  // Blocks came from several at once: all but the very first may have most of it from others.
  expect(all.filter((stats) => sources(stats) >= 2).length).toBeGreaterThanOrEqual(3);
  expect(all.reduce((sum, stats) => sum + stats.from_viewers, 0)).toBeGreaterThan(FILM_BYTES);
  expect(all.map((stats) => stats.rejected_blocks)).toEqual([0, 0, 0, 0]);
  for (const viewer of viewers) await expect(viewer.page.getByTestId('peer-count')).not.toHaveText('0');
});

test('a viewer that reloads the page watches again', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await viewer.page.reload();
  await shown(viewer.page);
  await plays(viewer.page);
  await viewer.until('view', (stats) => stats.complete);
});

test('a seeder whose page crashes is missed by nobody for long', async ({ newPeer }) => {
  const publisher = await newPeer();
  // Chromium on both sides of the matrix: it has an address that crashes the page.
  const seeder = (await newPeer({ browser: 'chromium' })).allow(/the page crashed/);
  const link = await publisher.share(await film('colours.mp4'));
  await seeder.open(link);
  await seeder.until('view', (stats) => stats.complete);
  await seeder.setUpload('view', { bytesPerSecond: 700_000 });
  await publisher.setUpload('share', { bytesPerSecond: 700_000 });

  const viewer = await newPeer();
  await viewer.open(link);
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.peers.length === 2 && stats.from_viewers > 100_000);
  const crashed = seeder.page.waitForEvent('crash');
  await seeder.page.goto('chrome://crash').catch(() => {});
  await crashed;
  await publisher.setUpload('share', { bytesPerSecond: null });
  await plays(viewer.page, 2);
  const stats = await viewer.until('view', (stats) => stats.complete);
  expect(stats).toMatchObject({ problem: null, rejected_blocks: 0 });
});
