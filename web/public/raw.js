/**
 * Answers the ranges that a `<video>` asks for of a file that our media engine does not play (web/src/raw.ts), from the page that holds it.
 *
 * It knows nothing itself: each request is put to the very page that makes it, which gives the verified bytes part by part over a port, one for each
 * 'more'. So it may be stopped and started at any time, and no page gets what another holds. Whatever is no such request goes its usual way.
 */
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { request, clientId } = event;
  const { origin, pathname } = new URL(request.url);
  const asks = request.destination === 'video' || request.destination === 'audio';
  if (origin === location.origin && pathname.startsWith('/raw/') && asks && clientId) event.respondWith(answer(clientId, pathname, request));
});

async function answer(clientId, path, request) {
  const page = await self.clients.get(clientId);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get('range') || '');
  if (!page) return new Response(null, { status: 404 });
  const { port1: port, port2 } = new MessageChannel();
  const size = await new Promise((known) => {
    port.onmessage = ({ data }) => known(data);
    page.postMessage({ raw: path, from: range ? Number(range[1]) : 0, to: range && range[2] ? Number(range[2]) : null, port: port2 }, [port2]);
  });
  // `null`: not what that page plays.
  if (size === null) return new Response(null, { status: 404 });
  const from = range ? Number(range[1]) : 0;
  if (from >= size) return new Response(null, { status: 416, headers: { 'content-range': `bytes */${size}` } });
  const last = range && range[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  return new Response(bodyOf(port), {
    status: range ? 206 : 200,
    headers: {
      // Browsers look at the bytes then, as they do for a file without a name.
      'content-type': 'application/octet-stream',
      'content-length': String(last - from + 1),
      ...(range ? { 'content-range': `bytes ${from}-${last}/${size}` } : {}),
      'accept-ranges': 'bytes',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; sandbox",
    },
  });
}

/** A part for each time that there is room for one: nothing piles up. */
function bodyOf(port) {
  return new ReadableStream(
    {
      pull(controller) {
        return new Promise((taken) => {
          port.onmessage = ({ data }) => {
            if (data === 'end') controller.close();
            else if (data === 'failed') controller.error(new Error('the page gave up'));
            else controller.enqueue(data);
            taken();
          };
          port.postMessage('more');
        });
      },
      cancel() {
        port.postMessage('cancelled');
      },
    },
    { highWaterMark: 1 },
  );
}
