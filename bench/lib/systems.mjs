// Ours and the rivals, with one face: `publish` puts a file there, `url` is what a visitor opens.
import { basename } from 'node:path';
import { patience } from './browser.mjs';

/** Publishing is not part of any figure but `link`; hashing 200 MB takes WebTorrent 10 s on a quiet machine. */
const PUBLISH_MS = 180_000;

/** Ours, the pages as people use them. */
export const baton = {
  key: 'baton',
  name: 'Baton',
  async publish(stage, path, role = 'publisher') {
    const tab = await stage.tab(role);
    await tab.page.goto(await stage.baton());
    await tab.page.waitForFunction(() => window.baton?.client);
    await choose(tab, path);
    const url = await patience(tab, 'Baton: the link', published(tab));
    return { tab, url, memory: url };
  },
  started: () => window.baton.view?.stats()?.bytes_received > 0,
  complete: () => window.baton.view?.stats()?.complete === true,
};

const choose = (tab, path) => tab.page.getByTestId('file-input').setInputFiles(path);

async function published(tab) {
  const link = await tab.page.waitForFunction(() => window.baton.share?.url, null, { polling: 50 });
  return link.jsonValue();
}

/** The film over plain HTTP: what any site does. */
export const http = {
  key: 'http',
  name: 'HTTP',
  async publish(stage, path) {
    const url = `${await stage.pages()}/http.html#${encodeURIComponent(`/media/${basename(path)}`)}`;
    return { tab: null, url, memory: url };
  },
};

/** WebTorrent in the browser at both ends. `memory` is the link whose viewer keeps the torrent in memory. */
export const webtorrent = {
  key: 'webtorrent',
  name: 'WebTorrent',
  async publish(stage, path, role = 'publisher') {
    const tab = await stage.tab(role);
    const pages = await stage.pages();
    const tracker = await stage.tracker();
    await tab.page.goto(`${pages}/webtorrent.html`);
    await tab.page.waitForFunction(() => window.rival);
    await tab.page.evaluate(() => {
      const input = Object.assign(document.createElement('input'), { type: 'file', id: 'file' });
      document.body.append(input);
    });
    await tab.page.locator('#file').setInputFiles(path);
    const began = performance.now();
    const seeding = tab.page.evaluate((to) => window.rival.seed(document.querySelector('#file').files[0], to), tracker);
    const magnet = await patience(tab, 'WebTorrent: seeding', seeding, PUBLISH_MS);
    const ms = performance.now() - began;
    const fragment = encodeURIComponent(magnet);
    return {
      tab,
      magnet,
      ms,
      url: `${pages}/webtorrent.html#${fragment}`,
      memory: `${pages}/webtorrent.html?memory#${fragment}`,
    };
  },
  started: () => window.rival.received() > 0,
  complete: () => window.rival.complete(),
};

/** Waits until a viewer has everything. */
export async function untilComplete(system, tab, ms = 120_000) {
  await tab.page.waitForFunction(system.complete, null, { polling: 100, timeout: ms });
}
