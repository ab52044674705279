// From choosing a file to the link on the page.
import { patience } from '../lib/browser.mjs';
import { smallFilm, sparseFilm } from '../lib/media.mjs';
import { met, time } from '../lib/numbers.mjs';
import { alternate, progress } from '../lib/rounds.mjs';
import { Stage } from '../lib/stage.mjs';
import { baton, webtorrent } from '../lib/systems.mjs';

const BAR_MS = 300;
/** Beyond what 32 bits count. */
const LARGE_BYTES = 4_400_000_000;

export const link = {
  about: 'from choosing a file to the link, 4 MB and 4 GB',
  async run({ runs, systems }) {
    const rows = [];
    const stage = await Stage.loopback();
    try {
      for (const { film, name } of [
        { film: smallFilm(), name: '4 MB' },
        { film: await sparseFilm(LARGE_BYTES), name: '4 GB' },
      ]) {
        progress(`the link of ${name}`);
        const entrants = [];
        if (systems.has('baton')) entrants.push({ key: 'baton', run: () => ours(stage, film.path) });
        // It copies and hashes the whole file first: of 4 GB there is nothing to wait for.
        const small = name === '4 MB';
        if (systems.has('webtorrent') && small) entrants.push({ key: 'webtorrent', run: () => theirs(stage, film.path) });
        const medians = await alternate(entrants, runs, { write: time });
        rows.push({
          figure: `from choosing ${name} to the link`,
          ours: time(medians.baton),
          rivals: small ? `WebTorrent ${time(medians.webtorrent)}` : 'WebTorrent hashes all of it first',
          ratio: '–',
          bar: '≤ 300 ms',
          met: met(medians.baton, medians.baton <= BAR_MS),
        });
      }
      return rows;
    } finally {
      await stage.close();
    }
  },
};

/** Measured in the page: from the file input's `change` to the link where a person sees it. */
async function ours(stage, path) {
  const tab = await stage.tab('publisher');
  try {
    await tab.page.goto(await stage.baton());
    await tab.page.waitForFunction(() => window.baton?.client);
    await tab.page.getByTestId('file-input').waitFor({ state: 'attached' });
    await tab.page.evaluate(() => {
      window.__link = new Promise((resolve) => {
        addEventListener('change', () => {
          const began = performance.now();
          const look = () => {
            const element = document.querySelector('[data-testid="share-url"]');
            if (/#[\w-]{40,}/.test(element?.value ?? element?.textContent ?? '')) resolve(performance.now() - began);
            else requestAnimationFrame(look);
          };
          look();
        }, { capture: true, once: true });
      });
    });
    await tab.page.getByTestId('file-input').setInputFiles(path);
    return await patience(tab, 'Baton: the link', tab.page.evaluate(() => window.__link));
  } finally {
    await tab.close();
  }
}

async function theirs(stage, path) {
  const { tab, ms } = await webtorrent.publish(stage, path);
  await tab.close();
  return ms;
}
