// From the navigation to the first picture, in a fresh profile; the publisher in another process.
import { firstPicture } from '../lib/browser.mjs';
import { film } from '../lib/media.mjs';
import { met, time, times } from '../lib/numbers.mjs';
import { alternate, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, http, webtorrent } from '../lib/systems.mjs';
import { printTimeline } from '../lib/timeline.mjs';

export const startup = {
  about: 'first picture on loopback, moov at the start and at the end',
  run: (options) =>
    both(Stage.loopback, options, (ours, plain) => ({
      ratio: times(ours, plain, 'HTTP'),
      bar: '≤ 2× HTTP',
      met: met(ours, ours <= 2 * plain),
    })),
};

export const startupShaped = {
  about: 'first picture at 20 Mbit/s up, 50 down, 30 ms round trip',
  run: (options) =>
    both(Stage.shaped, options, (ours, plain) => ({ ratio: times(ours, plain, 'HTTP'), bar: '≤ 1 s', met: met(ours, ours <= 1000) })),
};

async function both(open, options, judge) {
  const rows = [];
  for (const moov of ['start', 'end']) {
    const { path, name } = await film(moov);
    const stage = await open();
    try {
      progress(`first picture, ${stage.network.name}, ${name}`);
      const [ours, plain, tuned, asItComes] = await visits(stage, path, options);
      rows.push({
        figure: `first picture, ${stage.network.name}, ${name}`,
        ours: time(ours),
        rivals: `HTTP ${time(plain)} · WebTorrent ${time(tuned)} · as it comes ${time(asItComes)}`,
        ...judge(ours, plain),
      });
    } finally {
      await stage.close();
    }
  }
  return rows;
}

/** Median milliseconds: ours, HTTP, WebTorrent with its viewer's store in memory, WebTorrent as it comes. */
async function visits(stage, path, { runs, systems }) {
  const entrants = [];
  const enter = (key, { url, tab: publisher }, once = false) =>
    entrants.push({ key, once, run: () => visit(stage, url, key, publisher) });
  const ours = systems.has(baton.key) ? await baton.publish(stage, path) : null;
  if (ours) enter('Baton', ours);
  if (systems.has('http')) enter('HTTP', await http.publish(stage, path));
  if (systems.has('webtorrent')) {
    const seeded = await webtorrent.publish(stage, path);
    enter('WebTorrent', { ...seeded, url: seeded.memory });
    enter('WebTorrent as it comes', seeded, true);
  }
  const medians = await alternate(entrants, runs, { write: time });
  if (ours) await lastVisit(stage, ours);
  return ['Baton', 'HTTP', 'WebTorrent', 'WebTorrent as it comes'].map((key) => medians[key]);
}

/** One more, for where the time goes; one that never sees a picture is the most telling. */
async function lastVisit(stage, { url, tab: publisher }) {
  const tab = await stage.tab('viewer');
  try {
    await firstPicture(tab, url, 'Baton');
  } catch (error) {
    progress(`  ${error.message}`);
  }
  await printTimeline(tab, publisher);
  await tab.close();
}

/** Slower than this is not noise: its timeline is worth reading. */
const ODD_MS = 3000;

async function visit(stage, url, what, publisher) {
  const tab = await stage.tab('viewer');
  try {
    const ms = await firstPicture(tab, url, what);
    if (ms > ODD_MS) await printTimeline(tab, publisher);
    return ms;
  } finally {
    await tab.close();
  }
}
