// Native peers and browsers in one swarm, in both directions; a keeper by the ticket of the share page.
import { networkInterfaces } from 'node:os';
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

/** An address of this machine's that browsers use for connections. */
function ownAddress(family: 'IPv4' | 'IPv6'): string | undefined {
  const all = Object.values(networkInterfaces()).flat();
  return all.find((it) => it?.family === family && !it.internal && !it.scopeid)?.address;
}

/** Makes every connection of the page one that may use nothing but relays. */
function onlyRelays(): void {
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration?: RTCConfiguration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
    }
  };
}

test("a browser and a native peer that may use nothing but the server's relay pass a film on, both ways", async ({ newPeer, newServer, native }) => {
  const own = ownAddress('IPv4') ?? '127.0.0.1';
  const server = await newServer(['--turn-listen', `${own}:0`]);
  const path = await noise('relayed.bin', 2_000_000, 11);
  const publisher = await newPeer({ base: server.url, init: onlyRelays });
  const copy = native('get', await publisher.share(path), '-o', 'copy.bin', '--relay');
  await copy.said('done');
  expect(sha256(join(copy.folder, 'copy.bin'))).toBe(sha256(path));

  const seeder = native('seed', await film('moov-end.mp4'), '--server', server.url, '--relay');
  const viewer = await newPeer({ base: server.url, init: onlyRelays });
  await viewer.open(String((await seeder.said('link')).link));
  await shown(viewer.page);
  const stats = await viewer.until('view', (stats) => stats.complete);
  expect(stats.path_counts).toEqual({ direct: 0, relay: 1 });
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const relayed = Number(/^baton_turn_bytes_total (\d+)/m.exec(metrics)?.[1]);
  expect(relayed).toBeGreaterThan(2_000_000 + stats.size);
});

test('a browser and a native peer that has IPv6 only pass a film on, both ways', async ({ server, newPeer, native }) => {
  const own = ownAddress('IPv6');
  test.skip(own === undefined, 'browsers use no IPv6 where loopback has the only address');
  const path = await noise('six.bin', 2_000_000, 13);
  const publisher = await newPeer();
  const copy = native('get', await publisher.share(path), '-o', 'copy.bin', '--bind', own!);
  await copy.said('done');
  expect(sha256(join(copy.folder, 'copy.bin'))).toBe(sha256(path));

  const seeder = native('seed', await film('moov-end.mp4'), '--server', server.url, '--bind', own!);
  const viewer = await newPeer();
  await viewer.open(String((await seeder.said('link')).link));
  await shown(viewer.page);
  const stats = await viewer.until('view', (stats) => stats.complete);
  expect(stats.path_counts).toEqual({ direct: 1, relay: 0 });
});
