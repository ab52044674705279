// Verified bulk transfer, one to one, no player, against a bare channel: how fast, and at what price in CPU.
import { randomFile } from '../lib/media.mjs';
import { median, met, times } from '../lib/numbers.mjs';
import { patience } from '../lib/browser.mjs';
import { pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, webtorrent } from '../lib/systems.mjs';

const TRANSFER_MS = 300_000;

export const bulk = {
  about: '200 MB one to one, no player, against a bare channel; MB/s and CPU',
  async run({ runs, systems, megabytes, storage }) {
    const file = await randomFile(megabytes);
    const stage = await Stage.loopback();
    try {
      progress(`bulk, ${megabytes} MB`);
      const transfers = await contenders(stage, file, systems, storage);
      const results = new Map(transfers.map(({ key }) => [key, []]));
      for (let round = 0; round < runs; round += 1) {
        for (const { key, transfer } of transfers) {
          try {
            const result = await metered(stage, file, transfer);
            results.get(key).push(result);
            progress(`  ${round + 1}/${runs} ${key}: ${shown(result)}`);
            progress(`      sending: ${result.threads[0]}`);
            progress(`      receiving: ${result.threads[1]}`);
          } catch (error) {
            progress(`  ${round + 1}/${runs} ${key}: failed: ${error.message}`);
          }
          await pause();
        }
      }
      return rows(results);
    } finally {
      await stage.close();
    }
  },
};

/** Each `transfer` resolves with the milliseconds from the first bytes to the last, and calls `done` before its tab closes. */
async function contenders(stage, file, systems, storage) {
  const entrants = [{ key: 'bare', transfer: (done) => bare(stage, file.bytes, done) }];
  if (systems.has('baton')) {
    const { url } = await baton.publish(stage, file.path);
    entrants.push({ key: 'baton', transfer: (done) => batonFetch(stage, url, storage, done) });
  }
  if (systems.has('webtorrent')) {
    const { magnet } = await webtorrent.publish(stage, file.path);
    entrants.push({ key: 'webtorrent', transfer: (done) => webtorrentFetch(stage, magnet, done) });
  }
  return entrants;
}

/** CPU of both process trees over the whole transfer, opening the page and connecting included. */
export async function metered(stage, { bytes }, transfer, threadCount = 5) {
  const both = [await stage.browser('publisher'), await stage.browser('viewer')];
  const before = both.map((browser) => browser.cpu());
  const threadsBefore = both.map((browser) => browser.cpuByThread());
  let threads = [];
  // Threads are counted while the tab still lives.
  const ms = await transfer(() => {
    threads = both.map((browser, at) => busiest(threadsBefore[at], browser.cpuByThread(), bytes, threadCount));
  });
  const [sender, receiver] = both.map((browser, at) => (browser.cpu() - before[at]) / (bytes / 1e8));
  return { mbps: bytes / 1000 / ms, sender, receiver, threads };
}

/** The threads that worked most: CPU-seconds per 100 MB. */
function busiest(before, after, bytes, count) {
  const used = [...after].map(([name, seconds]) => [name, (seconds - (before.get(name) ?? 0)) / (bytes / 1e8)]);
  return used.sort((a, b) => b[1] - a[1]).slice(0, count).map(([name, seconds]) => `${name} ${seconds.toFixed(1)}`).join(', ');
}

export const shown = ({ mbps, sender, receiver }) =>
  `${mbps.toFixed(1)} MB/s, CPU-s per 100 MB: ${sender.toFixed(1)} sending, ${receiver.toFixed(1)} receiving`;

async function bare(stage, bytes, done) {
  const [from, to] = [await stage.tab('publisher'), await stage.tab('viewer')];
  try {
    const page = `${await stage.pages()}/channel.html`;
    await Promise.all([from.page.goto(page), to.page.goto(page)]);
    const offer = await from.page.evaluate(() => window.bare.offer());
    const answer = await to.page.evaluate((it) => window.bare.answer(it), offer);
    await from.page.evaluate((it) => window.bare.accept(it), answer);
    const received = to.page.evaluate((it) => window.bare.received(it), bytes);
    await from.page.evaluate((it) => window.bare.send(it), bytes);
    const ms = await patience(to, 'bare channel', received, TRANSFER_MS);
    done();
    return ms;
  } finally {
    await from.close();
    await to.close();
  }
}

/** Milliseconds from the first bytes to the last, in a tab of the viewer's. `save`: written into a file, too. */
export async function batonFetch(stage, url, storage, done = () => undefined, save = false) {
  const tab = await stage.tab('viewer');
  try {
    // Without a fragment this page only offers the interface.
    await tab.page.goto(`${new URL(url).origin}/embed`);
    const fetched = tab.page.evaluate(fetchAll, { url, storage, save });
    const ms = await patience(tab, 'Baton: fetchAll', fetched, TRANSFER_MS);
    done();
    return ms;
  } finally {
    await tab.close();
  }
}

/** Runs in the page. The origin's own disk stands for a file that a person chose. */
async function fetchAll({ url, storage, save }) {
  let client = window.baton?.client;
  if (storage || !client) {
    const { Client } = await import('/client.js');
    client = await Client.start(storage ? { storage } : {});
  }
  const view = client.open(url);
  let began = 0;
  const watch = setInterval(() => {
    if (began === 0 && view.stats().bytes_received > 0) began = performance.now();
  }, 20);
  let written = null;
  if (save) {
    const handle = await (await navigator.storage.getDirectory()).getFileHandle('download', { create: true });
    await (await view.stream()).pipeTo(await handle.createWritable());
    written = (await handle.getFile()).size;
  } else await view.fetchAll();
  clearInterval(watch);
  const ms = performance.now() - began;
  const { complete, size, have, rejected_blocks } = view.stats();
  if (save && written !== size) throw new Error(`${written} of ${size} bytes were written`);
  // What is streamed has been compared with the publisher's hash; the numbers may be a moment behind it.
  if (!save && !complete) throw new Error(`fetchAll resolved with ${have} of ${size} here, ${rejected_blocks} blocks rejected`);
  return ms;
}

async function webtorrentFetch(stage, magnet, done) {
  const tab = await stage.tab('viewer');
  try {
    await tab.page.goto(`${await stage.pages()}/webtorrent.html`);
    const fetched = tab.page.evaluate(async (it) => {
      let began = 0;
      const watch = setInterval(() => {
        if (began === 0 && window.rival.received() > 0) began = performance.now();
      }, 20);
      await window.rival.fetch(it, true);
      clearInterval(watch);
      return performance.now() - began;
    }, magnet);
    const ms = await patience(tab, 'WebTorrent: fetch', fetched, TRANSFER_MS);
    done();
    return ms;
  } finally {
    await tab.close();
  }
}

function rows(results) {
  const middle = (key, of) => median((results.get(key) ?? []).map(of));
  const speed = (key) => middle(key, (it) => it.mbps);
  const cpu = (key) => middle(key, (it) => it.sender + it.receiver);
  const word = (value, unit) => (Number.isFinite(value) ? `${value.toFixed(1)} ${unit}` : '–');
  return [
    {
      figure: 'verified bulk, one to one',
      ours: word(speed('baton'), 'MB/s'),
      rivals: `bare channel ${word(speed('bare'), 'MB/s')} · WebTorrent ${word(speed('webtorrent'), 'MB/s')}`,
      ratio: times(speed('baton'), speed('bare'), 'bare'),
      bar: '≥ 0.95× bare',
      met: met(speed('baton'), speed('baton') >= 0.95 * speed('bare')),
    },
    {
      figure: 'its CPU-seconds per 100 MB, both ends',
      ours: word(cpu('baton'), 's'),
      rivals: `bare channel ${word(cpu('bare'), 's')} · WebTorrent ${word(cpu('webtorrent'), 's')}`,
      ratio: times(cpu('baton'), cpu('bare'), 'bare'),
      bar: '≤ 1.15× bare',
      met: met(cpu('baton'), cpu('baton') <= 1.15 * cpu('bare')),
    },
  ];
}
