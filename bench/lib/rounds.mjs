// Systems take turns, so that whatever else the machine does meets them all alike.
import { median } from './numbers.mjs';

/** Between two visits; long enough for a farewell to reach the others, not for a lost connection to be noticed. */
let pauseMs = 500;
export const setPause = (ms) => (pauseMs = ms);

export const pause = (ms = pauseMs) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Runs each entrant `runs` times in turn (one that is marked `once`, in the first round only); returns the median by key.
 * An entrant that fails is reported and counts as a missing run: its rivals are measured all the same.
 *
 * @param {{key: string, once?: boolean, run: () => Promise<number>}[]} entrants
 */
export async function alternate(entrants, runs, { write = (value) => value.toFixed(0) } = {}) {
  const results = Object.fromEntries(entrants.map(({ key }) => [key, []]));
  for (let round = 0; round < runs; round += 1) {
    for (const { key, once, run } of entrants) {
      if (once && round > 0) continue;
      try {
        const value = await run();
        results[key].push(value);
        progress(`  ${round + 1}/${runs} ${key}: ${write(value)}`);
      } catch (error) {
        progress(`  ${round + 1}/${runs} ${key}: failed: ${error.message}`);
      }
      await pause();
    }
  }
  return Object.fromEntries(Object.entries(results).map(([key, values]) => [key, median(values)]));
}

export const progress = (line) => console.error(line);
