// What the page loads until its first picture: WASM + JavaScript + CSS as they came over the network.
import { get } from 'node:http';
import { brotliCompressSync } from 'node:zlib';
import { firstPicture } from '../lib/browser.mjs';
import { film } from '../lib/media.mjs';
import { progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton } from '../lib/systems.mjs';

/** 350 KB, as network people count. */
const BAR_BYTES = 350_000;
const COUNTED = /\.(wasm|m?js|css)$/;

export const weight = {
  about: 'WASM + JavaScript + CSS loaded until the first picture, brotli',
  async run({ systems }) {
    if (!systems.has('baton')) return [];
    const { path } = await film('start');
    const stage = await Stage.loopback();
    try {
      progress('page weight');
      const { url } = await baton.publish(stage, path);
      const tab = await stage.tab('viewer');
      const responses = [];
      // Dedicated workers' requests are among the page's.
      tab.context.on('response', (response) => responses.push(response));
      await firstPicture(tab, url, 'Baton');
      const weighed = await Promise.all(responses.slice().map(weigh));
      // What was preloaded comes out of the browser's cache when the worker asks for it.
      const files = [...new Map(weighed.map((file) => [file.name, file])).values()];
      await tab.close();
      const counted = files.filter(({ counts }) => counts);
      const total = counted.reduce((sum, { bytes }) => sum + bytes, 0);
      for (const { name, bytes, how, counts } of files) {
        progress(`  ${String(bytes).padStart(8)} B  ${name} (${how})${counts ? '' : ' – not counted'}`);
      }
      return [
        {
          figure: 'page weight to the first picture: WASM + JS + CSS',
          ours: `${(total / 1000).toFixed(0)} KB`,
          rivals: '–',
          ratio: (total / BAR_BYTES).toFixed(2),
          bar: '≤ 350 KB brotli',
          met: total <= BAR_BYTES,
        },
      ];
    } finally {
      await stage.close();
    }
  },
};

/** What the server sends for this address. */
function brotliBytes(url) {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'accept-encoding': 'br' } }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk) => (bytes += chunk.length)).on('end', () => resolve(bytes));
    }).on('error', reject);
  });
}

/** As it came if it came in brotli; else what brotli would have made of it. */
async function weigh(response) {
  const name = new URL(response.url()).pathname;
  const counts = COUNTED.test(name);
  const encoding = (await response.headerValue('content-encoding')) ?? 'as it is';
  try {
    await response.finished();
    if (encoding === 'br' || !counts) {
      const { responseBodySize } = await response.request().sizes();
      // Of a worker's script the browser reports no size.
      const bytes = responseBodySize > 0 || !counts ? responseBodySize : await brotliBytes(response.url());
      return { name, bytes, how: encoding, counts };
    }
    const body = await response.body();
    return { name, bytes: brotliCompressSync(body).length, how: `came ${encoding}; brotli here`, counts };
  } catch (error) {
    // The upgrade to a WebSocket and what was cancelled have no body.
    return { name, bytes: 0, how: error.message.split('\n')[0], counts: false };
  }
}
