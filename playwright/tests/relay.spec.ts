// Peers who cannot reach each other: the server's own TURN carries the film, and cannot read it either.
import { networkInterfaces } from 'node:os';
import { BUNNY } from '../lib/media.ts';
import { plays, shown } from '../lib/player.ts';
import type { Launch } from '../lib/browsers.ts';
import type { Stats } from '../lib/peer.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** Makes every connection of the page one that may use nothing but relays, over UDP. */
function onlyRelays(): void {
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration?: RTCConfiguration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
    }
  };
}

/** The same over TCP to the relay, as where UDP is blocked. */
function onlyRelaysByTcp(): void {
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration?: RTCConfiguration) {
      const byTcp = (url: string): boolean => url.includes('transport=tcp');
      const iceServers = (configuration?.iceServers ?? [])
        .map((server) => ({ ...server, urls: [server.urls].flat().filter(byTcp) }))
        .filter((server) => server.urls.length > 0);
      super({ ...configuration, iceServers, iceTransportPolicy: 'relay' });
    }
  };
}

/** An address that browsers use for connections: not loopback, if there is another. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flat();
  return all.find((it) => it?.family === 'IPv4' && !it.internal)?.address ?? '127.0.0.1';
}

/** Plays the film to a visitor who has no direct way to it, until all of it is there. */
async function watchesRelayed(publisher: Peer, viewer: Peer): Promise<Stats> {
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await plays(viewer.page);
  const stats = await viewer.until('view', (stats) => stats.complete && stats.path_counts.relay === 1);
  expect(stats.path_counts).toEqual({ direct: 0, relay: 1 });
  return stats;
}

for (const [by, init] of [
  ['UDP', onlyRelays],
  ['TCP', onlyRelaysByTcp],
] as const) {
  test(`a film plays through the server's relay alone, over ${by}`, async ({ newPeer, newServer }) => {
    const server = await newServer(['--turn-listen', `${ownAddress()}:0`]);
    const publisher = await newPeer({ base: server.url, init });
    const viewer = await newPeer({ base: server.url, init });
    const stats = await watchesRelayed(publisher, viewer);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    const relayed = Number(/^baton_turn_bytes_total (\d+)/m.exec(metrics)?.[1]);
    expect(relayed).toBeGreaterThan(stats.size);
  });
}

/** Browsers that send no UDP at all, as behind a firewall that lets only the web through. */
const WITHOUT_UDP: Record<string, Launch> = {
  chromium: { args: ['--webrtc-ip-handling-policy=disable_non_proxied_udp'] },
  // Only relays, of which this server has none.
  firefox: { prefs: { 'media.peerconnection.ice.relay_only': true } },
};

/** Where a connection cannot be had, which is the test. */
const FIREFOX_SAYS = [/^WebRTC: ICE failed/, /^ICE failed, add a STUN server/];

test('where UDP is dead and there is no TURN, the server itself carries the film, and the page says "relayed"', async ({
  newPeer,
  newServer,
  browserName,
}) => {
  const server = await newServer(['--relay']);
  const launch = WITHOUT_UDP[browserName]!;
  const publisher = (await newPeer({ base: server.url, launch })).allow(...FIREFOX_SAYS);
  const viewer = (await newPeer({ base: server.url, launch })).allow(...FIREFOX_SAYS);
  const stats = await watchesRelayed(publisher, viewer);
  expect(stats.rejected_blocks).toBe(0);
  await expect(viewer.page.getByTestId('peer-list')).toContainText('relayed');
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const carried = Number(/^baton_carried_bytes_total (\d+)/m.exec(metrics)?.[1]);
  expect(carried).toBeGreaterThan(stats.size);
});

test('a server that does not carry leaves those without UDP where they were', async ({ newPeer, server, browserName }) => {
  const launch = WITHOUT_UDP[browserName]!;
  const publisher = (await newPeer({ launch })).allow(...FIREFOX_SAYS);
  const viewer = (await newPeer({ launch })).allow(...FIREFOX_SAYS);
  await viewer.open(await publisher.share(BUNNY));
  const stats = await viewer.until('view', (stats) => stats.problem !== null);
  expect(stats.path_counts).toEqual({ direct: 0, relay: 0 });
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain('\nbaton_carried_frames_total 0\n');
});
