// Unpacks the old engines: `node unpack.mjs FOLDER` leaves FOLDER/79/chromium and FOLDER/86/chromium.
import { chmodSync, createReadStream, createWriteStream, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants, createBrotliDecompress } from 'node:zlib';

const folder = process.argv[2];
for (const version of ['79', '86']) {
  const packed = new URL(`node_modules/chromium-${version}/bin/chromium.br`, import.meta.url);
  const program = join(folder, version, 'chromium');
  mkdirSync(join(folder, version), { recursive: true });
  // They were packed with a window that brotli has by agreement only.
  const unpack = createBrotliDecompress({ params: { [constants.BROTLI_DECODER_PARAM_LARGE_WINDOW]: 1 } });
  await pipeline(createReadStream(packed), unpack, createWriteStream(`${program}.draft`));
  chmodSync(`${program}.draft`, 0o755);
  renameSync(`${program}.draft`, program);
}
