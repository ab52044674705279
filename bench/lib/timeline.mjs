// Where the time goes: a visit's marks, and what its publisher did meanwhile.
import { progress } from './rounds.mjs';

export async function printTimeline(tab, publisher) {
  const { since, events } = await tab.page.evaluate(() => ({
    since: performance.timeOrigin,
    events: window.__bench.timeline(),
  }));
  // One clock for both: they run on one machine.
  const theirs = publisher ? await publisher.page.evaluate((from) => window.__bench.eventsSince(from), since) : [];
  const all = [...events, ...theirs.map(({ name, at }) => ({ name: `          publisher: ${name}`, at }))];
  progress('  timeline of the visit, milliseconds since its navigation:');
  for (const { name, at } of all.sort((a, b) => a.at - b.at)) progress(`  ${at.toFixed(0).padStart(7)}  ${name}`);
  for (const line of tab.trouble) progress(`  the page said: ${line}`);
}

/** What happened from a seek to its picture. */
export async function printSeek(tab) {
  const events = await tab.page.evaluate(() => window.__bench.eventsSince(performance.timeOrigin));
  progress('  timeline of the seek, milliseconds since it:');
  for (const { name, at } of events) progress(`  ${(at - events[0].at).toFixed(0).padStart(7)}  ${name}`);
}
