// Somebody who watched a film gives it to the next one through a narrow uplink, the publisher gone: how much longer does what the
// same house sends wait meanwhile, and how much of the uplink is used.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { channelBytes, patience } from '../lib/browser.mjs';
import { randomFile } from '../lib/media.mjs';
import { median, met, percent, times } from '../lib/numbers.mjs';
import { start } from '../lib/processes.mjs';
import { alternate, pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, untilComplete, webtorrent } from '../lib/systems.mjs';

const UP_KBIT = 5_000;
const MEGABYTES = 24;
/** From when on and how long: the first seconds are connecting, and the file lasts 38 s. */
const AFTER_MS = 3_000;
const PROBED_MS = 25_000;
const PROBE = fileURLToPath(new URL('../lib/probe.mjs', import.meta.url));

export const polite = {
  about: 'delay that a viewer who passes on adds to its own uplink of 5 Mbit/s',
  async run({ runs, systems }) {
    const file = await randomFile(MEGABYTES);
    const stage = await Stage.narrow(UP_KBIT);
    const others = { baton: [], webtorrent: [] };
    try {
      progress(`polite, ${stage.network.name}`);
      const echo = await start(...command(stage, 'server', 'echo', stage.network.place('server').address), {
        ready: /listening on (\d+) /,
      });
      const entrants = [baton, webtorrent]
        .filter((it) => systems.has(it.key))
        .map((system) => ({
          key: system.key,
          run: async () => {
            const { p95, ...rest } = await give(stage, system, file, echo.match[1]);
            progress(`    p50 ${rest.p50.toFixed(0)} ms, ${percent(rest.share)} of the uplink, ${rest.lost} probes lost`);
            others[system.key].push(rest);
            return p95;
          },
        }));
      const p95 = await alternate(entrants, runs, { write: (value) => `p95 ${value.toFixed(0)} ms` });
      await echo.stop();
      const [ours, rival] = [p95.baton, p95.webtorrent];
      const shown = (value, rest) => {
        if (!Number.isFinite(value)) return '–';
        const middle = (key) => median(rest.map((it) => it[key]));
        return `${middle('p50').toFixed(0)} ms, ${value.toFixed(0)} ms, ${percent(middle('share'))}`;
      };
      return [
        {
          figure: `passing on through ${UP_KBIT / 1000} Mbit/s: delay added to the uplink p50, p95, share of it used`,
          ours: shown(ours, others.baton),
          rivals: `WebTorrent ${shown(rival, others.webtorrent)}`,
          ratio: times(ours, rival, 'WebTorrent'),
          bar: '≤ 100 ms p95',
          met: met(ours, ours <= 100),
        },
      ];
    } finally {
      await stage.close();
    }
  },
};

/** One who has it and one who comes; milliseconds over what the way takes when it is quiet. */
async function give(stage, system, { path, bytes }, port) {
  const { tab: publisher, url, magnet } = await system.publish(stage, path);
  const tabs = [publisher];
  try {
    const seeder = await fetching(stage, system, 'seeder', url, magnet);
    tabs.push(seeder);
    await untilComplete(system, seeder);
    await publisher.close();
    tabs.shift();
    const quiet = median((await probe(stage, port, () => pause(3_000))).took);
    await channelBytes(seeder);
    tabs.push(await fetching(stage, system, 'viewer', url, magnet));
    await pause(AFTER_MS);
    let sent = 0;
    let ms = 0;
    const { took, lost } = await probe(stage, port, async () => {
      const [before, began] = [(await channelBytes(seeder)).sent, performance.now()];
      await pause(PROBED_MS);
      sent = (await channelBytes(seeder)).sent - before;
      ms = performance.now() - began;
    });
    if (sent === 0) throw new Error(`nothing of ${bytes} bytes was given`);
    const added = took.map((it) => Math.max(0, it - quiet)).sort((a, b) => a - b);
    const part = (share) => added[Math.floor(added.length * share)];
    return { p50: part(0.5), p95: part(0.95), share: (sent * 8) / ms / UP_KBIT, lost };
  } finally {
    for (const tab of tabs) await tab.close();
  }
}

/** A tab that fetches everything and plays nothing. */
async function fetching(stage, system, role, url, magnet) {
  const tab = await stage.tab(role);
  if (system === webtorrent) {
    await tab.page.goto(new URL(url).href.split('#')[0]);
    await tab.page.waitForFunction(() => window.rival);
    await tab.page.evaluate((it) => void window.rival.fetch(it, true), magnet);
  } else {
    await tab.page.goto(`${new URL(url).origin}/embed`);
    await tab.page.waitForFunction(() => window.baton?.client);
    await tab.page.evaluate((it) => {
      window.baton.view = window.baton.client.open(it);
      void window.baton.view.fetchAll();
    }, url);
  }
  await patience(tab, `${system.name}: first bytes`, tab.page.waitForFunction(system.started, null, { polling: 20 }));
  return tab;
}

const command = (stage, role, ...words) => stage.network.place(role).command(process.execPath, [PROBE, ...words]);

/** Round trips through the seeder's uplink while something happens. */
async function probe(stage, port, during) {
  const [program, words] = command(stage, 'seeder', 'ask', stage.network.place('server').address, port);
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  const closed = once(child, 'close');
  try {
    await during();
  } finally {
    child.stdin.end();
    await closed;
  }
  return JSON.parse(out);
}
