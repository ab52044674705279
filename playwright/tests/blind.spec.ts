// The signalling server is blind: it hears who is in which swarm, and nothing of what they share or where they are.
import { ownFile } from '../lib/media.ts';
import { readFileSync } from 'node:fs';
import { BUNNY } from '../lib/media.ts';
import { plays, shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

const FILE_NAME = 'secret-wedding-film.mp4';

/** Keeps every description that the page's connections make or are given. */
function keepDescriptions(): void {
  const seen: string[] = [];
  (window as unknown as { seen: string[] }).seen = seen;
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      const look = (): void => {
        for (const it of [this.localDescription, this.remoteDescription]) if (it) seen.push(it.sdp);
      };
      this.addEventListener('icecandidate', (event) => {
        if (event.candidate) seen.push(event.candidate.candidate);
        look();
      });
      this.addEventListener('connectionstatechange', look);
    }
  };
}

/** Values that stand for a connection, as texts and as bytes: whoever knows them could listen in or pretend. */
async function connectionSecrets(peer: Peer): Promise<{ texts: Set<string>; bytes: Buffer[] }> {
  const seen = await peer.page.evaluate(() => (window as unknown as { seen: string[] }).seen.join('\n'));
  const all = (pattern: RegExp): string[] => [...seen.matchAll(pattern)].map((found) => found[1]!);
  const fingerprints = all(/fingerprint:sha-256 ([0-9A-F:]+)/gi);
  const texts = new Set([
    ...all(/ice-ufrag:(\S+)/g),
    ...all(/ice-pwd:(\S+)/g),
    ...all(/(\S+\.local) \d+ typ host/g),
    ...fingerprints,
    ...fingerprints.map((it) => it.replaceAll(':', '')),
    ...fingerprints.map((it) => it.replaceAll(':', '').toLowerCase()),
  ]);
  return { texts, bytes: fingerprints.map((it) => Buffer.from(it.replaceAll(':', ''), 'hex')) };
}

test('the server hears neither names, keys, link secret, SDP, fingerprints nor candidates', async ({ newPeer, newProxy, server }) => {
  const proxy = await newProxy(server);
  const path = ownFile(FILE_NAME, readFileSync(BUNNY));
  const publisher = await newPeer({ base: proxy.url, init: keepDescriptions });
  const viewer = await newPeer({ base: proxy.url, init: keepDescriptions });
  const link = await publisher.share(path);
  await viewer.open(link);
  await shown(viewer.page);
  await plays(viewer.page);
  await viewer.until('view', (stats) => stats.complete);

  const heard = proxy.everything;
  const messages = proxy.heard.flatMap((connection) => connection.messages);
  // It did hear something: both joined, and an offer, an answer and candidates went through.
  expect(messages.length).toBeGreaterThan(4);
  expect(Buffer.concat(messages).length).toBeGreaterThan(500);

  const fragment = link.slice(link.indexOf('#') + 1);
  const raw = Buffer.from(fragment, 'base64url');
  // Version 1 byte, public key 32, secret 16, then extras and 4 bytes of checksum (docs/protocol.md).
  const publicKey = raw.subarray(1, 33);
  const secret = raw.subarray(33, 49);
  const forbidden: [string, Buffer][] = [
    ['file name', Buffer.from(FILE_NAME)],
    ['link', Buffer.from(fragment)],
    ['part of the link', Buffer.from(fragment.slice(44, 66))],
    ['raw link', raw],
    ['public key', publicKey],
    ['secret', secret],
    ['SDP', Buffer.from('a=')],
    ['ICE', Buffer.from('ice-')],
    ['candidate', Buffer.from('candidate')],
    ['candidate type', Buffer.from('typ host')],
    ['mDNS name', Buffer.from('.local')],
    ['fingerprint', Buffer.from('sha-256')],
    ['MIME type', Buffer.from('video/mp4')],
  ];
  for (const key of [publicKey, secret]) {
    for (const form of ['hex', 'base64', 'base64url'] as const) forbidden.push([`key in ${form}`, Buffer.from(key.toString(form).slice(0, 20))]);
  }
  for (const peer of [publisher, viewer]) {
    const { texts, bytes } = await connectionSecrets(peer);
    // ufrag, pwd and fingerprint in three spellings of both sides at least.
    expect(texts.size).toBeGreaterThanOrEqual(8);
    // A ufrag of Chromium's is 4 letters, which chance puts among random bytes; the password that goes with it is longer.
    for (const text of texts) if (text.length > 4) forbidden.push([text, Buffer.from(text)]);
    for (const value of bytes) forbidden.push(['raw fingerprint', value]);
  }
  const sealed = Buffer.concat(messages);
  for (const [what, value] of forbidden) {
    // Static files have names of our own choosing: `a=` and `ice-` are looked for in the messages only, where chance is small for 4 bytes.
    if (value.toString() === 'a=') expect(sealed.includes(Buffer.from('\r\na=')), what).toBe(false);
    else expect((value.toString() === 'ice-' ? sealed : heard).includes(value), what).toBe(false);
  }
});

test('what a browser asks for over http names no stream', async ({ newPeer, newProxy, server }) => {
  const proxy = await newProxy(server);
  const publisher = await newPeer({ base: proxy.url });
  const viewer = await newPeer({ base: proxy.url });
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  const requests = proxy.heard.flatMap(({ http }) => [...http.toString('latin1').matchAll(/^(?:GET|POST|PUT|HEAD) (\S+) HTTP/gm)].map((found) => found[1]!));
  expect(requests.length).toBeGreaterThan(4);
  for (const path of requests) expect(path).toMatch(/^\/($|ws$|client\.js$|assets\/[\w.-]+$|favicon|touch-icon|card\.png)/);
});
