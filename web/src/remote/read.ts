/** Reads QR codes out of pictures where the browser itself cannot: all but Chromium on Android, ChromeOS and macOS. Loaded when somebody asks for the camera. */
import jsqr from 'jsqr';
import type { Detector } from './scan';

// A CommonJS module: its function is the default of the default.
const decode = (jsqr as unknown as { default?: typeof jsqr }).default ?? jsqr;

/** The longer side of what is looked at, pixels: a code that fills a quarter of it can be read, and a look takes some tens of milliseconds. */
const SIDE_MAX = 640;

export function reader(): Detector {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  return {
    detect(from) {
      if (from.videoWidth === 0) return Promise.resolve([]);
      const scale = Math.min(1, SIDE_MAX / Math.max(from.videoWidth, from.videoHeight));
      [canvas.width, canvas.height] = [Math.round(from.videoWidth * scale), Math.round(from.videoHeight * scale)];
      context.drawImage(from, 0, 0, canvas.width, canvas.height);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      const found = decode(data, width, height, { inversionAttempts: 'dontInvert' });
      return Promise.resolve(found ? [{ rawValue: found.data }] : []);
    },
  };
}
