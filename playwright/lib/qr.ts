// Reads the QR code that a page draws, as a telephone would.
import type { Locator } from '@playwright/test';
import jsqr from 'jsqr';

const SCALE = 4;

/** The text in a QR code that is drawn as one path of `M x y h n v1 h-n z` runs. */
export async function readQr(svg: Locator): Promise<string | null> {
  const [box, runs] = await svg.evaluate((element) => [
    element.getAttribute('viewBox')!,
    [...element.querySelectorAll('path')].map((path) => path.getAttribute('d')!).join(''),
  ] as const);
  const size = Number(box.split(' ')[2]);
  const side = size * SCALE;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (const [, x, y, n] of runs.matchAll(/M(\d+) (\d+)h(\d+)/g)) {
    for (let row = Number(y) * SCALE; row < (Number(y) + 1) * SCALE; row++) {
      for (let column = Number(x) * SCALE; column < (Number(x) + Number(n)) * SCALE; column++) {
        pixels.fill(0, (row * side + column) * 4, (row * side + column) * 4 + 3);
      }
    }
  }
  // A CommonJS module: its function is the default of the default.
  const decode = jsqr as unknown as typeof jsqr.default;
  return decode(pixels, side, side)?.data ?? null;
}
