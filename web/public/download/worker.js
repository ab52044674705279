/**
 * Hands bytes that a page has to the browser's own download: for browsers where a page cannot write into a file (web/src/save/ways.ts).
 *
 * The page says what is coming, and gives a port; it then opens /download/ID, which is answered with a stream of what comes over that port.
 * The page is asked for each part when there is room for it, so nothing piles up. It speaks to this worker every few seconds, because a
 * browser stops one that hears nothing.
 */
const waiting = new Map();

/** Downloads that were announced and not opened: a page opens one at once. */
const WAITING_MAX = 16;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('message', ({ data }) => {
  if (!data || typeof data.id !== 'string' || !data.port) return; // or it is a sign of life
  if (waiting.size >= WAITING_MAX) waiting.delete(waiting.keys().next().value);
  waiting.set(data.id, data);
  data.port.postMessage('ready');
});

self.addEventListener('fetch', (event) => {
  const id = new URL(event.request.url).pathname.split('/').pop();
  const coming = waiting.get(id);
  if (!coming) return;
  waiting.delete(id);
  event.respondWith(answer(coming));
});

function answer({ port, name, size }) {
  let take = null;
  const body = new ReadableStream(
    {
      start(controller) {
        port.onmessage = ({ data }) => {
          if (data === 'end') controller.close();
          else if (data === 'failed') controller.error(new Error('the page gave up'));
          else controller.enqueue(data);
          if (take) take();
          take = null;
        };
      },
      pull() {
        port.postMessage('more');
        return new Promise((taken) => (take = taken));
      },
      cancel() {
        port.postMessage('cancelled');
      },
    },
    { highWaterMark: 1 },
  );
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(size),
      'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, (it) => `%${it.charCodeAt(0).toString(16)}`)}`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'",
    },
  });
}
