// One film from memory into segments for MediaSource: our media engine in WASM, and mediabunny, in the same page.
import { BufferSource, ALL_FORMATS, Conversion, Input, Mp4OutputFormat, NullTarget, Output } from '/mediabunny/mediabunny.mjs';
import init, { Remuxer } from '/remux-wasm/remux.js';

/** What is handed over at once, bytes. */
const PUSH = 1 << 20;

const [film] = await Promise.all([
  fetch(new URLSearchParams(location.search).get('film')).then((answer) => answer.arrayBuffer()),
  init({ module_or_path: '/remux-wasm/remux_bg.wasm' }),
]);

window.remux = {
  bytes: film.byteLength,
  /** Milliseconds in all, and of each push until its segments are there. */
  ours() {
    const remuxer = new Remuxer(film.byteLength);
    const pushes = [];
    let out = 0;
    const began = performance.now();
    for (let at = remuxer.wants(); at !== undefined; at = remuxer.wants()) {
      const pushed = performance.now();
      remuxer.push(at, new Uint8Array(film, at, Math.min(PUSH, film.byteLength - at)));
      for (let segment = remuxer.pull(); segment; segment = remuxer.pull()) out += segment.byteLength;
      pushes.push(performance.now() - pushed);
    }
    const ms = performance.now() - began;
    remuxer.free();
    return { ms, pushes, out };
  },
  /** The same into one fragmented MP4, whose bytes go nowhere. */
  async mediabunny() {
    const input = new Input({ source: new BufferSource(film), formats: ALL_FORMATS });
    const target = new NullTarget();
    let out = 0;
    target.onwrite = (_start, end) => (out = Math.max(out, end));
    const output = new Output({ format: new Mp4OutputFormat({ fastStart: 'fragmented' }), target });
    const began = performance.now();
    const conversion = await Conversion.init({ input, output });
    await conversion.execute();
    return { ms: performance.now() - began, out };
  },
};
