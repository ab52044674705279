// Big files, reloads: what sharing costs, how memory stays flat, how soon a reload serves again, how fast a download is written.
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { patience } from '../lib/browser.mjs';
import { hugeFilm, randomFile, smallFilm, sparseFilm } from '../lib/media.mjs';
import { median, met, times } from '../lib/numbers.mjs';
import { tree } from '../lib/processes.mjs';
import { pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, untilComplete } from '../lib/systems.mjs';
import { batonFetch, metered, shown } from './bulk.mjs';

const FOUR_GB = 4_000_000_000;
const TWENTY_GB = 20_000_000_000;
/** At 24 Mbit/s more than comes over loopback, so that the player waits for the film and not the film for the player. */
const FAST = 4;

export const storage = {
  about: 'sharing 4 GB, reload to serving, a download to disk, memory over --minutes of watching and of random requests of 20 GB',
  async run({ runs, systems, megabytes, minutes, part }) {
    if (!systems.has('baton')) return [];
    const rows = [];
    const parts = {
      sharing: () => sharing(runs),
      reload: () => reload(runs),
      download: () => download(runs, megabytes),
      watching: () => watching(minutes, 'chromium'),
      'watching-firefox': () => watching(minutes, 'firefox'),
      random: () => random(minutes),
      whole: () => watching(Infinity, 'chromium'),
      'whole-firefox': () => watching(Infinity, 'firefox'),
    };
    for (const [name, measure] of Object.entries(parts)) {
      // The whole of 20 GB takes an hour: only who asks for it gets it.
      if (part ? name !== part : name.startsWith('whole')) continue;
      rows.push(...[await measure()].flat());
    }
    return rows;
  },
};

/** CPU of the publisher's browser from choosing the file until its link is there. Nobody has asked for anything by then. */
async function sharing(runs) {
  const { path } = await sparseFilm(FOUR_GB);
  const values = [];
  progress('sharing 4 GB: CPU until somebody is there');
  for (let round = 0; round < runs; round += 1) {
    const stage = await Stage.loopback();
    try {
      const tab = await stage.tab('publisher');
      await tab.page.goto(await stage.baton());
      await tab.page.waitForFunction(() => window.baton?.client);
      const browser = await stage.browser('publisher');
      await pause(2000);
      const before = browser.cpu();
      await tab.page.getByTestId('file-input').setInputFiles(path);
      await patience(tab, 'the link', tab.page.waitForFunction(() => /#/.test(document.querySelector('[data-testid="share-url"]')?.value ?? '')));
      values.push(browser.cpu() - before);
      progress(`  ${round + 1}/${runs} ${values.at(-1).toFixed(2)} s`);
    } finally {
      await stage.close();
    }
  }
  const ours = median(values);
  return { figure: 'CPU of sharing 4 GB, until its link is there', ours: `${ours.toFixed(2)} s`, rivals: '–', ratio: '–', bar: '< 1 s', met: met(ours, ours < 1) };
}

/** A viewer that has all of it reloads; the publisher is gone, and somebody waits. */
async function reload(runs) {
  const { path } = smallFilm();
  const values = [];
  progress('from a reload to the first block served');
  for (let round = 0; round < runs; round += 1) {
    const stage = await Stage.loopback();
    try {
      const { tab: publisher, url } = await baton.publish(stage, path);
      const heir = await stage.tab('heir');
      await heir.page.goto(url);
      await untilComplete(baton, heir);
      await heir.page.waitForFunction(() => window.baton.view.stats().bytes_stored >= window.baton.view.stats().bytes_verified);
      // It gives nothing until it has reloaded.
      await heir.page.evaluate(() => window.baton.view.setUpload({ paused: true }));
      await publisher.close();
      const visitor = await stage.tab('viewer');
      await visitor.page.goto(url);
      await visitor.page.waitForFunction(() => window.baton?.view?.stats().peers.length > 0);
      await heir.page.reload({ waitUntil: 'commit' });
      // The page's clock begins with the navigation; numbers come four times a second.
      const served = heir.page.evaluate(async () => {
        while (!(window.baton?.view?.stats().bytes_sent > 0)) await new Promise((resolve) => setTimeout(resolve, 10));
        return performance.now();
      });
      values.push(await patience(heir, 'the first block served', served));
      progress(`  ${round + 1}/${runs} ${(values.at(-1) / 1000).toFixed(2)} s`);
    } catch (error) {
      progress(`  ${round + 1}/${runs} failed: ${error.message}`);
    } finally {
      await stage.close();
    }
  }
  const ours = median(values) / 1000;
  return { figure: 'reload to the first block served', ours: `${ours.toFixed(2)} s`, rivals: '–', ratio: '–', bar: '< 2 s', met: met(ours, ours < 2) };
}

/** The same file fetched, and fetched and written into a file, in turn. */
async function download(runs, megabytes) {
  const file = await randomFile(megabytes);
  const stage = await Stage.loopback();
  const rates = { bulk: [], download: [] };
  progress(`a download of ${megabytes} MB written to disk, beside fetching it`);
  try {
    const { url } = await baton.publish(stage, file.path);
    for (let round = 0; round < runs; round += 1) {
      for (const key of Object.keys(rates)) {
        try {
          const result = await metered(stage, file, (done) => batonFetch(stage, url, undefined, done, key === 'download'), 12);
          rates[key].push(result.mbps);
          progress(`  ${round + 1}/${runs} ${key}: ${shown(result)}`);
          progress(`      sending: ${result.threads[0]}`);
          progress(`      receiving: ${result.threads[1]}`);
        } catch (error) {
          progress(`  ${round + 1}/${runs} ${key}: failed: ${error.message}`);
        }
        await pause();
      }
    }
  } finally {
    await stage.close();
  }
  const [ours, bulk] = [median(rates.download), median(rates.bulk)];
  return {
    figure: 'a download, written and checked',
    ours: `${ours.toFixed(1)} MB/s`,
    rivals: `bulk ${bulk.toFixed(1)} MB/s`,
    ratio: times(ours, bulk, 'bulk'),
    bar: '≥ 0.90× bulk',
    met: met(ours, ours >= 0.9 * bulk),
  };
}

/**
 * What sharing and watching 20 GB takes in the pages at both ends, more than a tab that is empty: the most seen. Without an end it is a film
 * that long, hashed at one end and played from its beginning to its end at the other, as fast as it comes; what the player's buffers hold
 * of it is not counted.
 */
async function watching(minutes, kind) {
  const whole = minutes === Infinity;
  const { path, bytes: size, seconds = Infinity } = await (whole ? hugeFilm(TWENTY_GB) : sparseFilm(TWENTY_GB));
  const stage = await Stage.loopback(kind, whole);
  progress(`${whole ? 'the whole' : `${minutes} min`} of sharing and watching 20 GB, ${kind}`);
  try {
    const browsers = { sharing: await stage.browser('publisher'), watching: await stage.browser('viewer') };
    const most = { sharing: 0, watching: 0 };
    const empty = {};
    const tabs = { sharing: await stage.tab('publisher'), watching: await stage.tab('viewer') };
    for (const tab of Object.values(tabs)) await tab.page.goto(await stage.pages());
    for (const end of Object.keys(browsers)) empty[end] = await memory(browsers[end]);
    for (const tab of Object.values(tabs)) await tab.close();
    const { tab: publisher, url } = await baton.publish(stage, path);
    const viewer = await stage.tab('viewer');
    await viewer.page.goto(url);
    await patience(viewer, 'the first picture', viewer.page.waitForFunction(() => document.querySelector('video')?.currentTime > 0, null, { timeout: 0 }));
    if (whole) await viewer.page.evaluate((rate) => void (document.querySelector('video').playbackRate = rate), FAST);
    const numbers = async () => ({
      buffered_s: await viewer.page.evaluate(() => {
        const { buffered } = document.querySelector('video');
        return Array.from({ length: buffered.length }, (_, i) => buffered.end(i) - buffered.start(i)).reduce((sum, it) => sum + it, 0);
      }),
      played: await viewer.page.evaluate(() => {
        const video = document.querySelector('video');
        return video.ended ? 1 : video.currentTime / video.duration;
      }),
      hashed: await publisher.page.evaluate(() => window.baton.share.stats().hash_progress ?? 1),
      here: await viewer.page.evaluate(() => window.baton.view.stats().bytes_verified),
      kept: await viewer.page.evaluate(() => window.baton.view.stats().bytes_stored),
    });
    const until = performance.now() + minutes * 60_000;
    let at = await numbers();
    const over = () => (whole ? at.hashed === 1 && at.played === 1 : performance.now() >= until);
    const heaps = { sharing: 0, watching: 0 };
    for (let look = 1; !over(); look += 1) {
      await pause(10_000);
      // A report stops the browser for a moment.
      if (kind === 'firefox' && look % 6 === 1) {
        for (const end of Object.keys(heaps)) heaps[end] = Math.max(heaps[end], await heap(browsers[end]));
        progress(`  heap and WebAssembly at most ${heaps.sharing.toFixed(0)} MB sharing, ${heaps.watching.toFixed(0)} MB watching`);
      }
      const of = { sharing: await memory(browsers.sharing), watching: await memory(browsers.watching) };
      at = await numbers();
      // The browser keeps those for its decoder, outside of the page's heap and WASM: so many bytes at least.
      of.watching -= (at.buffered_s / seconds) * (size / 1e6);
      for (const end of Object.keys(most)) most[end] = Math.max(most[end], of[end] - empty[end]);
      if (look % 4 === 1) progress(`  at most ${most.sharing.toFixed(0)} MB sharing, ${most.watching.toFixed(0)} MB watching; ${(100 * at.hashed).toFixed(0)} % hashed, ${at.buffered_s.toFixed(0)} s in the player, ${(at.here / 1e9).toFixed(2)} GB here, ${(at.kept / 1e9).toFixed(2)} GB on disk, ${(100 * at.played).toFixed(0)} % played`);
    }
    const how = whole ? 'whole' : `${minutes} min`;
    const far = `${(at.here / 1e9).toFixed(1)} GB here, ${(at.kept / 1e9).toFixed(1)} GB of it kept`;
    // Firefox says what its memory is for; in Chromium all of the process counts, which is more.
    const counted = kind === 'firefox' ? heaps : most;
    return Object.entries(counted).map(([end, ours]) => ({
      figure: `memory of ${end} 20 GB, ${kind}, ${how} (${end === 'sharing' ? `${(100 * at.hashed).toFixed(0)} % hashed` : far})`,
      ours: `${ours.toFixed(0)} MB`,
      rivals: kind === 'firefox' ? `all of its process ${most[end].toFixed(0)} MB` : '–',
      ratio: '–',
      bar: '< 200 MB',
      met: met(ours, ours < 200),
    }));
  } finally {
    await stage.close();
  }
}

/** What the publisher's page takes, before and after: it is asked for pieces from everywhere, one after the other. */
async function random(minutes) {
  const { path } = await sparseFilm(TWENTY_GB);
  const stage = await Stage.loopback();
  progress(`${minutes} min of random requests of 20 GB`);
  try {
    const { url } = await baton.publish(stage, path);
    const browser = await stage.browser('publisher');
    const tab = await stage.tab('viewer');
    await tab.page.goto(`${new URL(url).origin}/embed`);
    await tab.page.evaluate(async (url) => {
      const { Client } = await import('/client.js');
      // It fetches what it is asked for, and keeps little.
      const view = (await Client.start({ means: 'tv', storage: 'memory' })).open(url);
      const pieces = Math.ceil((await view.meta).size / 2 ** 20);
      const asked = { count: 0, failed: 0, why: '' };
      window.__asked = asked;
      void (async () => {
        for (;;) {
          await view.read(0xffffffff, 0, Math.floor(Math.random() * pieces)).then(
            () => (asked.count += 1),
            // What cannot be had is refused at once: asked for again without a pause, nothing else would have its turn on this page.
            (error) => {
              asked.failed += 1;
              asked.why = String(error);
              return new Promise((resolve) => setTimeout(resolve, 1000));
            },
          );
        }
      })();
    }, url);
    // A minute to get to work in: caches fill, code is compiled.
    await pause(60_000);
    const before = await memory(browser);
    progress(`  after a minute: ${before.toFixed(0)} MB`);
    let after = before;
    for (let minute = 1; minute <= minutes; minute += 1) {
      await pause(60_000);
      after = await memory(browser);
      if (minute % 5 === 0 || minutes <= 15 || minute === minutes) {
        const { count, failed, why } = await patience(tab, 'the count', tab.page.evaluate(() => window.__asked));
        progress(`  ${minute} min: ${after.toFixed(0)} MB, ${count} pieces asked for, ${failed} failed ${why}`);
      }
    }
    const { count } = await tab.page.evaluate(() => window.__asked);
    const grown = after - before;
    return {
      figure: `memory of seeding 20 GB, ${minutes} min of random requests`,
      ours: `${grown >= 0 ? '+' : ''}${grown.toFixed(1)} MB (${count} pieces)`,
      rivals: '–',
      ratio: '–',
      bar: '< 20 MB in 60 min',
      met: met(grown, grown < 20),
    };
  } finally {
    await stage.close();
  }
}

/** Private memory of the browser's pages, MB: the least of five looks, so that what waits to be collected counts little. Linux only. */
async function memory(browser) {
  const looks = [];
  for (let look = 0; look < 5; look += 1) {
    looks.push(tree(browser.pid).reduce((sum, { pid }) => sum + privateKilobytes(pid), 0) / 1000);
    await pause(1000);
  }
  return Math.min(...looks);
}

/**
 * What Firefox itself counts as our pages' and their workers', MB: heaps, buffers, WebAssembly's memory and code, all in the garbage collector's hands, too;
 * not the player's buffers, decoders and what every process has. It writes a report of `about:memory` when it gets the first real-time signal.
 */
async function heap(browser) {
  const of = (name) => new RegExp(`^unified-memory-report-\\d+-${browser.pid}\\.json\\.gz$`).test(name);
  process.kill(browser.pid, SIGRTMIN);
  for (let look = 0; look < 600; look += 1) {
    const [name] = readdirSync(tmpdir()).filter(of);
    if (name) {
      const path = join(tmpdir(), name);
      const { reports } = JSON.parse(gunzipSync(readFileSync(path)));
      rmSync(path);
      const pages = new Set(reports.filter((it) => /^explicit\/window-objects\/top\(http:/.test(it.path)).map((it) => it.process));
      const ours = reports.filter((it) => it.units === 0 && pages.has(it.process) && /^explicit\/(window-objects|workers|js-non-window)\//.test(it.path));
      return ours.reduce((sum, it) => sum + it.amount, 0) / 1e6;
    }
    await pause(100);
  }
  throw new Error('Firefox wrote no memory report');
}

/** glibc's. */
const SIGRTMIN = 34;

function privateKilobytes(pid) {
  try {
    if (!/--type=renderer|[ \0]tab\0?$/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))) return 0;
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
    return (of('Private_Dirty') + of('Private_Clean')) * 1.024;
  } catch {
    return 0; // gone between two looks
  }
}
