// Native peers and browsers in one swarm, in both directions; a keeper by the ticket of the share page.
import { join } from 'node:path';
import { sha256, film, noise } from '../lib/media.ts';
import { Native } from '../lib/native.ts';
import { plays, shown } from '../lib/player.ts';
import { expect, test as base } from '../lib/test.ts';

// Firefox leaves out this machine's own address, and here there may be no other.
const LOOPBACK = { launch: { prefs: { 'media.peerconnection.ice.loopback': true } } };

const test = base.extend<{ native(...args: string[]): Native }>({
  native: async ({}, use) => {
    const peers: Native[] = [];
    await use((...args) => {
      const peer = new Native(args);
      peers.push(peer);
      return peer;
    });
    for (const peer of peers) await peer.stop();
  },
});

test('a browser plays what a native peer seeds', async ({ server, newPeer, native }) => {
  const seeder = native('seed', await film('moov-end.mp4'), '--server', server.url);
  const link = String((await seeder.said('link')).link);
  const viewer = await newPeer(LOOPBACK);
  await viewer.open(link);
  await shown(viewer.page);
  await plays(viewer.page);
  const stats = await viewer.until('view', (stats) => stats.complete);
  expect(stats.rejected_blocks).toBe(0);
});

test('a native peer gets what a browser shares, byte for byte', async ({ newPeer, native }) => {
  const path = await noise('native.bin', 5_000_000);
  const publisher = await newPeer(LOOPBACK);
  const link = await publisher.share(path);
  const viewer = native('get', link, '-o', 'copy.bin');
  await viewer.said('done');
  expect(sha256(join(viewer.folder, 'copy.bin'))).toBe(sha256(path));
});

test('a keeper with the ticket of the page keeps the stream alive, and its publisher may leave', async ({ newPeer, native }) => {
  const path = await noise('kept.bin', 3_000_000, 7);
  const publisher = await newPeer(LOOPBACK);
  const link = await publisher.share(path);
  await publisher.page.getByText('Keep it alive on your own server').click();
  const command = await publisher.page.getByTestId('keep-command').inputValue();
  const [, keep, ticket] = command.split(' ');
  expect(keep).toBe('keep');
  const keeper = native('keep', ticket!, '--dir', 'kept');
  await keeper.until((event) => event.event === 'progress' && event.complete === 1);
  await expect(publisher.page.getByTestId('safe-to-leave')).toHaveAttribute('data-safe', 'true');
  await publisher.leave();

  const viewer = native('get', link, '-o', 'copy.bin');
  await viewer.said('done');
  expect(sha256(join(viewer.folder, 'copy.bin'))).toBe(sha256(path));
});
