// node static-server.mjs ADDRESS FOLDER: the bench's pages, the rival's files, and FOLDER's films with Range.
// The same server carries plain HTTP's film and WebTorrent's code. Text goes out in brotli, compressed beforehand.
import { createReadStream, existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

const [address, folder] = process.argv.slice(2);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', mjs: 'text/javascript; charset=utf-8', wasm: 'application/wasm', mp4: 'video/mp4' };
const typeOf = (path) => TYPES[path.split('.').pop()] ?? 'application/octet-stream';

const texts = new Map();
const text = (url, body, type = typeOf(url)) => texts.set(url, { body, type, brotli: brotliCompressSync(body) });
// How these come is not measured, and packing them takes a busy machine half a minute.
const plain = (url, body, type = typeOf(url)) => texts.set(url, { body, type, brotli: null });
for (const name of readdirSync(here('../pages'))) text(`/${name}`, readFileSync(here(`../pages/${name}`)));
const rival = here('../node_modules/webtorrent/dist/');
text('/webtorrent/webtorrent.min.js', readFileSync(`${rival}webtorrent.min.js`));
text('/sw.min.js', readFileSync(`${rival}sw.min.js`));
// The memory store that WebTorrent itself comes with, as a module.
const store = readFileSync(here('../node_modules/memory-chunk-store/index.js'), 'utf8');
text('/memory-store.js', `const module = {};
const require = () => globalThis.queueMicrotask.bind(globalThis);
${store}
export const MemoryStore = module.exports;
`, TYPES.js);

plain('/mediabunny/mediabunny.mjs', readFileSync(here('../node_modules/mediabunny/dist/bundles/mediabunny.min.mjs')));
// Only `cargo xtask bench remux` builds it.
const remux = here('../../target/remux-wasm/');
for (const name of existsSync(remux) ? readdirSync(remux) : []) plain(`/remux-wasm/${name}`, readFileSync(`${remux}${name}`));

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://any');
  const found = texts.get(pathname);
  if (found) {
    const brotli = found.brotli && /\bbr\b/.test(request.headers['accept-encoding'] ?? '');
    const body = brotli ? found.brotli : found.body;
    const headers = { 'content-type': found.type, 'content-length': body.length, 'cache-control': 'no-cache' };
    if (brotli) headers['content-encoding'] = 'br';
    response.writeHead(200, headers).end(body);
  } else if (pathname.startsWith('/media/') && readdirSync(folder).includes(pathname.slice(7))) {
    film(`${folder}/${pathname.slice(7)}`, request, response);
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('no such page');
  }
});

function film(path, request, response) {
  const { size } = statSync(path);
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = from ? Number(from) : 0;
  const end = to ? Math.min(Number(to), size - 1) : size - 1;
  const headers = { 'content-type': typeOf(path), 'accept-ranges': 'bytes', 'content-length': end - start + 1 };
  if (from) headers['content-range'] = `bytes ${start}-${end}/${size}`;
  response.writeHead(from ? 206 : 200, headers);
  const stream = createReadStream(path, { start, end });
  stream.pipe(response);
  response.on('close', () => stream.destroy());
}

server.listen(0, address, () => console.log(`listening on http://${address}:${server.address().port}`));
process.stdin.resume().on('end', () => process.exit(0));
