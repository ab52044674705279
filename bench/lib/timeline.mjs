// Where the time goes: one more visit, with its marks printed.
import { progress } from './rounds.mjs';

export async function printTimeline(tab) {
  const events = await tab.page.evaluate(() => window.__bench.timeline());
  const shown = tab.page.url().split('#')[0];
  progress(`  timeline of ${shown}, milliseconds since the navigation:`);
  for (const { name, at } of events) progress(`  ${at.toFixed(0).padStart(7)}  ${name}`);
  for (const line of tab.trouble) progress(`  the page said: ${line}`);
}
