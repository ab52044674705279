// How fast a film in memory becomes segments, in a page: the media engine in WASM beside mediabunny.
import { longFilm } from '../lib/media.mjs';
import { median, met } from '../lib/numbers.mjs';
import { alternate, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';

const BAR_BYTES_PER_SECOND = 150e6;
const BAR_MS = 7;

export const remux = {
  about: 'a film in memory into segments, in a page: MB/s, and the time from 1 MB to its segments; beside mediabunny',
  async run({ runs }) {
    const rows = [];
    for (const ending of ['mp4', 'mkv']) {
      const stage = await Stage.loopback();
      try {
        const { name } = await longFilm(ending);
        progress(`remuxing ${name}`);
        const tab = await stage.tab('viewer');
        await tab.page.goto(`${await stage.pages()}/remux.html?film=/media/${name}`);
        await tab.page.waitForFunction(() => window.remux);
        const bytes = await tab.page.evaluate(() => window.remux.bytes);
        const speed = (ms) => bytes / (ms / 1000);
        const pushes = [];
        const ours = async () => {
          const took = await tab.page.evaluate(() => window.remux.ours());
          if (took.out < bytes * 0.9) throw new Error(`only ${took.out} of ${bytes} bytes came out`);
          pushes.push(...took.pushes);
          return speed(took.ms);
        };
        const theirs = async () => {
          const took = await tab.page.evaluate(() => window.remux.mediabunny());
          if (took.out < bytes * 0.9) throw new Error(`mediabunny: only ${took.out} of ${bytes} bytes came out`);
          return speed(took.ms);
        };
        const entrants = [
          { key: 'baton', run: ours },
          { key: 'mediabunny', run: theirs },
        ];
        const write = (value) => `${(value / 1e6).toFixed(0)} MB/s`;
        const medians = await alternate(entrants, runs, { write });
        const each = median(pushes);
        await tab.close();
        rows.push({
          figure: `${(bytes / 1e6).toFixed(0)} MB of ${ending} into segments, in WASM`,
          ours: write(medians.baton),
          rivals: `mediabunny ${write(medians.mediabunny)}`,
          ratio: (medians.baton / medians.mediabunny).toFixed(2),
          bar: '≥ 150 MB/s',
          met: met(medians.baton, medians.baton >= BAR_BYTES_PER_SECOND),
        });
        rows.push({
          figure: `from 1 MB of ${ending} to its segments`,
          ours: `${each.toFixed(1)} ms (longest ${Math.max(...pushes).toFixed(1)})`,
          rivals: '–',
          ratio: '–',
          bar: '< 7 ms',
          met: met(each, each < BAR_MS),
        });
      } finally {
        await stage.close();
      }
    }
    return rows;
  },
};
