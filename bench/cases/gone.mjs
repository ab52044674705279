// The publisher leaves when one viewer has everything; how long until a new visitor's first picture.
import { firstPicture } from '../lib/browser.mjs';
import { film } from '../lib/media.mjs';
import { met, time, times } from '../lib/numbers.mjs';
import { alternate, pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, untilComplete, webtorrent } from '../lib/systems.mjs';
import { printTimeline } from '../lib/timeline.mjs';

/** The next visitor comes so long after the publisher's tab was closed. */
const GONE_MS = 1000;

export const gone = {
  about: 'the publisher is gone: a new visitor’s first picture, from a viewer',
  async run({ runs, systems }) {
    const { path } = await film('start');
    const stage = await Stage.loopback();
    try {
      progress('publisher gone, loopback');
      const contenders = [baton, webtorrent].filter((it) => systems.has(it.key));
      const entrants = contenders.map((system) => ({ key: system.key, run: () => once(stage, system, path) }));
      const { baton: ours, webtorrent: rival } = await alternate(entrants, runs, { write: time });
      return [
        {
          figure: 'first picture, publisher gone',
          ours: time(ours),
          rivals: `WebTorrent ${time(rival)}`,
          ratio: times(ours, rival, 'WebTorrent'),
          bar: '≤ 0.7 s',
          met: met(ours, ours <= 700),
        },
      ];
    } finally {
      await stage.close();
    }
  },
};

async function once(stage, system, path) {
  const { tab: publisher, memory } = await system.publish(stage, path);
  const heir = await stage.tab('heir');
  const visitor = await stage.tab('viewer');
  try {
    await firstPicture(heir, memory, `${system.name}: heir`);
    await untilComplete(system, heir);
    await publisher.close();
    await pause(GONE_MS);
    return await firstPicture(visitor, memory, `${system.name}: visitor`);
  } catch (error) {
    await printTimeline(visitor, heir).catch(() => undefined);
    throw error;
  } finally {
    await visitor.close();
    await heir.close();
    await publisher.close();
  }
}
