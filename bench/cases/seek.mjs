// From setting the time to 90 % to the picture of that time, right after the first picture: before it can be there.
import { firstPicture, seek as seekTo } from '../lib/browser.mjs';
import { film } from '../lib/media.mjs';
import { met, time, times } from '../lib/numbers.mjs';
import { alternate, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, http, webtorrent } from '../lib/systems.mjs';
import { printSeek } from '../lib/timeline.mjs';

export const seek = {
  about: 'seek to 90 % on loopback',
  run: (options) => measure(Stage.loopback, options),
};

export const seekShaped = {
  about: 'seek to 90 % at 20 Mbit/s up, 50 down, 30 ms round trip',
  run: (options) => measure(Stage.shaped, options),
};

async function measure(open, { runs, systems }) {
  const { path, seconds } = await film('start');
  const stage = await open();
  try {
    progress(`seek to 90 %, ${stage.network.name}`);
    const entrants = [];
    const links = {};
    for (const system of [baton, http, webtorrent].filter((it) => systems.has(it.key))) {
      const { memory } = await system.publish(stage, path);
      links[system.key] = memory;
      entrants.push({ key: system.key, run: () => visit(stage, memory, seconds * 0.9, system.name) });
    }
    const { baton: ours, http: plain, webtorrent: rival } = await alternate(entrants, runs, { write: time });
    // One more, for where the time goes.
    if (links.baton) await visit(stage, links.baton, seconds * 0.9, baton.name, true);
    return [
      {
        figure: `seek to 90 %, ${stage.network.name}`,
        ours: time(ours),
        rivals: `HTTP ${time(plain)} · WebTorrent ${time(rival)}`,
        ratio: times(ours, rival, 'WebTorrent'),
        bar: '≤ 0.7× WebTorrent',
        met: met(ours, ours <= 0.7 * rival),
      },
    ];
  } finally {
    await stage.close();
  }
}

async function visit(stage, url, to_s, what, shown = false) {
  const tab = await stage.tab('viewer');
  try {
    await firstPicture(tab, url, what);
    const ms = await seekTo(tab, to_s, what);
    if (shown) await printSeek(tab);
    return ms;
  } finally {
    await tab.close();
  }
}
