/**
 * Answers the ranges that a `<video>` asks for of a file that our media engine does not play (web/src/raw.ts), from the page that holds it.
 *
 * It knows nothing itself: each request is put to the very page that makes it, which gives the verified bytes part by part over a port, one for each
 * 'more'. So it may be stopped and started at any time, and no page gets what another holds. Whatever is no such request goes its usual way.
 */
self.addEventListener('install', () => self.skipWaiting());
// A page that needs it says so when it begins, and now and then from then on, which keeps the browser from stopping it.
self.addEventListener('message', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { request, clientId } = event;
  const { origin, pathname } = new URL(request.url);
  const asks = request.method === 'GET' && (request.destination === 'video' || request.destination === 'audio');
  if (origin === location.origin && pathname.startsWith('/raw/') && asks && clientId) event.respondWith(answer(clientId, pathname, request));
});

/** A page answers at once, unless it is very busy. */
const PATIENCE_MS = 15_000;

async function answer(clientId, path, request) {
  const page = await self.clients.get(clientId);
  if (!page) return new Response(null, { status: 404 });
  const range = rangeOf(request.headers.get('range'));
  const { port1: port, port2 } = new MessageChannel();
  const size = await new Promise((known) => {
    port.onmessage = ({ data }) => known(data);
    page.postMessage({ raw: path, ...range, port: port2 }, [port2]);
    setTimeout(known, PATIENCE_MS, null);
  });
  // `null`: not what that page plays. One that plays nothing so hears no question.
  if (size === null) return new Response(null, { status: 404 });
  if (range.is && range.from >= size) return new Response(null, { status: 416, headers: { 'content-range': `bytes */${size}` } });
  const last = Math.min(range.to, size - 1);
  return new Response(bodyOf(port), {
    status: range.is ? 206 : 200,
    headers: {
      // Browsers look at the bytes then, as they do for a file without a name.
      'content-type': 'application/octet-stream',
      'content-length': String(last - range.from + 1),
      ...(range.is ? { 'content-range': `bytes ${range.from}-${last}/${size}` } : {}),
      'accept-ranges': 'bytes',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; sandbox",
    },
  });
}

/** What a header asks for: the first byte and the last. One that is none of ours means everything (RFC 9110 §14.2). */
function rangeOf(header) {
  const [, from, to] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header || '') || [];
  const range = { is: true, from: Number(from), to: to ? Number(to) : Infinity };
  return range.from <= range.to ? range : { is: false, from: 0, to: Infinity };
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
