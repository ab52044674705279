/** AC-3 for the engine's worker, which imports this script when a film has such sound (worker-main.ts). Built as a classic script. */
import init, { Ac3 } from './wasm/ac3/ac3.js';
import wasm from './wasm/ac3/ac3_bg.wasm?url';

type Decode = (track: number, enhanced: boolean, fresh: boolean, frame: Uint8Array) => Uint8Array | undefined;

/** `base`: the address of this script, which a script cannot ask for. */
async function load(base: string): Promise<Decode> {
  await init({ module_or_path: new URL(wasm, base) });
  const decoders = new Map<number, Ac3>();
  return (track, enhanced, fresh, frame) => {
    let decoder = decoders.get(track);
    try {
      if (!decoder) decoders.set(track, (decoder = new Ac3(enhanced)));
      else if (fresh) decoder.restart();
      return decoder.decode(frame);
    } catch {
      // Whatever a hostile frame did to it, the next one meets a new one.
      decoders.delete(track);
      return undefined;
    }
  };
}

(globalThis as unknown as { batonAc3: unknown }).batonAc3 = load;
