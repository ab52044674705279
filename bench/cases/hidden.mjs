// A publisher in a tab that nobody sees, for minutes: what it serves, beside what it served while it was seen.
import { PlainChromium } from '../lib/devtools.mjs';
import { randomFile } from '../lib/media.mjs';
import { median, met, times } from '../lib/numbers.mjs';
import { pause, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { batonFetch } from './bulk.mjs';

export const hidden = {
  about: 'a publisher in a hidden tab, for --minutes: its rate beside that of the visible tab',
  async run({ systems, megabytes, minutes }) {
    if (!systems.has('baton')) return [];
    const file = await randomFile(megabytes);
    const stage = await Stage.loopback();
    const publisher = await PlainChromium.launch(stage.network.place('publisher'));
    try {
      progress(`hidden tab, ${megabytes} MB at a time, ${minutes} min`);
      await publisher.page('Page.navigate', { url: await stage.baton() });
      await publisher.until(`window.baton?.client && document.querySelector('[data-testid="file-input"]')`);
      await publisher.choose('[data-testid="file-input"]', file.path);
      await publisher.until('window.baton.share?.url');
      const url = await publisher.evaluate('window.baton.share.url');
      const state = () => publisher.evaluate('document.visibilityState');
      if ((await state()) !== 'visible') throw new Error('the tab is not visible to begin with');
      const seen = [];
      // As often before as after: the machine is not as busy all the time.
      const look = async (when) => {
        for (let round = 1; round <= ROUNDS; round += 1) seen.push(await transfer(stage, url, file, `visible ${when} ${round}/${ROUNDS}`));
      };
      await look('before');
      await publisher.hide();
      const unseen = [];
      const until = performance.now() + minutes * 60_000;
      while (performance.now() < until || unseen.length === 0) {
        const left = Math.max(0, (until - performance.now()) / 60_000).toFixed(1);
        unseen.push(await transfer(stage, url, file, `hidden, ${left} min left`));
      }
      if ((await state()) !== 'hidden') throw new Error('the tab did not stay hidden');
      await publisher.show();
      await look('after');
      const [ours, visible] = [median(unseen), median(seen)];
      return [
        {
          figure: `rate of a hidden publisher, ${minutes} min`,
          ours: `${ours.toFixed(1)} MB/s, least ${Math.min(...unseen).toFixed(1)}`,
          rivals: `visible ${visible.toFixed(1)} MB/s`,
          ratio: times(ours, visible, 'visible'),
          bar: '≥ 0.80× visible for 10 min',
          met: met(ours, ours >= 0.8 * visible),
        },
      ];
    } finally {
      await publisher.close();
      await stage.close();
    }
  },
};

const ROUNDS = 5;

async function transfer(stage, url, file, what) {
  const rate = file.bytes / 1000 / (await batonFetch(stage, url));
  progress(`  ${what}: ${rate.toFixed(1)} MB/s`);
  await pause();
  return rate;
}
