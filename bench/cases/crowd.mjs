// Several viewers open the link, at the same moment or one after the other, play, and stay until all have everything.
// Both systems' bytes are the browsers' own count of what the data channels carried.
import { channelBytes, firstPicture } from '../lib/browser.mjs';
import { film } from '../lib/media.mjs';
import { median, met, percent, time, times } from '../lib/numbers.mjs';
import { alternate, pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, untilComplete, webtorrent } from '../lib/systems.mjs';

export const four = { about: 'four viewers at once of one seeder', run: (options) => crowd(4, 0, options, 1.5) };
export const six = { about: 'six viewers of one seeder, five seconds apart', run: (options) => crowd(6, 5, options, 1.3) };
export const eight = { about: 'eight viewers at once of one seeder', run: (options) => crowd(8, 0, options, 1.5) };

async function crowd(viewers, apart_s, { runs, systems }, bar) {
  const who = `${viewers} viewers ${apart_s > 0 ? `${apart_s} s apart` : 'at once'}`;
  const { path, bytes } = await film('start');
  const stage = await Stage.loopback();
  const others = { baton: [], webtorrent: [] };
  try {
    progress(who);
    const contenders = [baton, webtorrent].filter((it) => systems.has(it.key));
    const entrants = contenders.map((system) => ({
      key: system.key,
      run: async () => {
        const { copies, ...rest } = await once(stage, system, path, bytes, viewers, apart_s);
        others[system.key].push(rest);
        return copies;
      },
    }));
    const copies = await alternate(entrants, runs, { write: (value) => `${value.toFixed(2)} copies` });
    const [ours, rival] = [copies.baton, copies.webtorrent];
    const shown = (value, rest) => {
      if (!Number.isFinite(value)) return '–';
      const middle = (key) => median(rest.map((it) => it[key]));
      return `${value.toFixed(2)}, ${percent(middle('share'))}, ${time(middle('ms'))}, ${middle('stalls')}`;
    };
    return [
      {
        figure: `${who}: copies sent by the seeder, share from viewers, until all have all, stalls`,
        ours: shown(ours, others.baton),
        rivals: `WebTorrent ${shown(rival, others.webtorrent)}`,
        ratio: times(ours, rival, 'WebTorrent'),
        bar: `≤ ${bar} copies`,
        met: met(ours, ours <= bar),
      },
    ];
  } finally {
    await stage.close();
  }
}

async function once(stage, system, path, bytes, viewers, apart_s) {
  const { tab: seeder, memory } = await system.publish(stage, path);
  const tabs = [];
  try {
    // From here on the counter reads regularly, so that no connection is gone before it was read.
    await channelBytes(seeder);
    for (let at = 0; at < viewers; at += 1) tabs.push(await stage.tab('viewer'));
    for (const tab of tabs) await channelBytes(tab);
    const began = performance.now();
    await Promise.all(
      tabs.map(async (tab, at) => {
        await pause(1000 * apart_s * at);
        const ms = await firstPicture(tab, memory, `${system.name}: viewer ${at + 1}`);
        await channelBytes(tab);
        await untilComplete(system, tab);
        progress(`    viewer ${at + 1}: picture after ${ms.toFixed(0)} ms, all of it after ${seconds(began)}`);
      }),
    );
    const ms = performance.now() - began;
    const stalls = await Promise.all(tabs.map((tab) => tab.page.evaluate(() => window.__bench.stalled())));
    const { sent } = await channelBytes(seeder);
    const received = await Promise.all(tabs.map(async (tab) => (await channelBytes(tab)).received));
    const total = received.reduce((sum, it) => sum + it, 0);
    return { copies: sent / bytes, share: 1 - sent / total, ms, stalls: stalls.reduce((sum, it) => sum + it, 0) };
  } finally {
    for (const tab of [...tabs, seeder]) await tab.close();
  }
}

const seconds = (began) => `${((performance.now() - began) / 1000).toFixed(1)} s`;
