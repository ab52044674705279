// Writes FILE.br and FILE.gz beside every text and WebAssembly file of a folder, when they are worth having.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const KINDS = new Set(['.html', '.js', '.css', '.wasm', '.svg', '.json', '.webmanifest', '.txt', '.map', '.ts']);
// A smaller answer fits into one packet anyway.
const MIN_BYTES = 860;

const ways = {
  br: (bytes) =>
    promisify(brotliCompress)(bytes, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
        [constants.BROTLI_PARAM_LGWIN]: 22,
      },
    }),
  gz: (bytes) => promisify(gzip)(bytes, { level: 9 }),
};

const folder = process.argv[2];
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));

await Promise.all(
  files.flatMap((file) => {
    if (file.endsWith('.br') || file.endsWith('.gz')) return [];
    const bytes = readFileSync(file);
    return Object.entries(ways).map(async ([suffix, way]) => {
      const beside = `${file}.${suffix}`;
      rmSync(beside, { force: true });
      if (!KINDS.has(extname(file)) || bytes.length < MIN_BYTES) return;
      const small = await way(bytes);
      if (small.length < bytes.length * 0.95) writeFileSync(beside, small);
    });
  }),
);
