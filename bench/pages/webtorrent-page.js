// The rival as its documentation has it: a service worker serves the <video> from the torrent. Adding the torrent does
// not wait for the service worker. No STUN server outside is asked: on these networks there is none to reach.
import WebTorrent from '/webtorrent/webtorrent.min.js';
import { MemoryStore } from './memory-store.js';

const client = new WebTorrent({ tracker: { rtcConfig: { iceServers: [] } } });
client.on('error', (error) => console.error(String(error)));

/** Every wire there ever was. */
const wires = [];
const watch = (torrent) => torrent.on('wire', (wire) => wires.push(wire));

const options = (memory) => (memory ? { store: MemoryStore } : {});

window.rival = {
  /** The magnet link, when everything is copied and hashed. */
  seed: (file, tracker) =>
    new Promise((resolve) => {
      client.seed(file, { announce: [tracker] }, (torrent) => {
        watch(torrent);
        resolve(torrent.magnetURI);
      });
    }),
  /** Resolves when everything is here and checked; no player. */
  fetch: (magnet, memory) =>
    new Promise((resolve) => {
      const torrent = client.add(magnet, options(memory));
      watch(torrent);
      torrent.once('done', resolve);
    }),
  received: () => client.torrents[0]?.received ?? 0,
  complete: () => client.torrents[0]?.progress === 1,
};

const magnet = decodeURIComponent(location.hash.slice(1));
if (magnet !== '') {
  const torrent = client.add(magnet, options(new URLSearchParams(location.search).has('memory')));
  watch(torrent);
  const ready = new Promise((resolve) => torrent.once('ready', resolve));
  await Promise.all([serve(), ready]);
  torrent.files[0].streamTo(document.querySelector('video'));
}

async function serve() {
  const registration = await navigator.serviceWorker.register('/sw.min.js', { scope: '/' });
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  while (worker.state !== 'activated') {
    await new Promise((resolve) => worker.addEventListener('statechange', resolve, { once: true }));
  }
  client.createServer({ controller: registration });
}
