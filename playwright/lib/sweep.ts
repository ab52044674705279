// What the rising tone of a coded film says.
import { SWEEP } from './media.ts';

/** The second that a piece of sound comes from, in its middle, and how loud it is; `null` where sound does not fill it. */
export function toldTime(wave: Float32Array, rate: number): { at_s: number; level: number } | null {
  const part = (from: number): number => Math.sqrt(wave.subarray(from, from + wave.length / 4).reduce((sum, it) => sum + it * it, 0) / (wave.length / 4));
  const parts = [0, 1, 2, 3].map((i) => part((i * wave.length) / 4));
  if (parts[0]! < 0.01 || Math.min(...parts) < 0.5 * Math.max(...parts)) return null;
  // Half waves between the first and the last passage through zero, each found to a fraction of a sample.
  const zeros: number[] = [];
  for (let i = 1; i < wave.length; i++) {
    const [a, b] = [wave[i - 1]!, wave[i]!];
    if (a < 0 !== b < 0) zeros.push(i - 1 + a / (a - b));
  }
  const hz = ((zeros.length - 1) * rate) / (2 * (zeros.at(-1)! - zeros[0]!));
  return { at_s: (hz - SWEEP.from) / SWEEP.slope, level: parts[0]! };
}

/** The middle one of some numbers, `null` of none. */
export function middle(of: number[]): number | null {
  return of.sort((a, b) => a - b)[Math.floor(of.length / 2)] ?? null;
}
