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
