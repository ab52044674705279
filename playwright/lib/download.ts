// What a person finds in the downloads folder.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FIREFOX_DOWNLOADS } from './browsers.ts';
import type { Peer } from './peer.ts';

const LOOK_EVERY_MS = 100;

export interface Saved {
  name: string;
  bytes: Buffer;
}

/** Does something that saves a file (a click), and returns that file once it is whole. */
export async function saved(peer: Peer, act: () => Promise<unknown>, timeout = 60_000): Promise<Saved> {
  if (peer.name === 'chromium') {
    const [download] = await Promise.all([peer.page.waitForEvent('download', { timeout }), act()]);
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  }
  // A folder that is empty before: names like `film(1).mp4` are not ours to explain.
  rmSync(FIREFOX_DOWNLOADS, { recursive: true, force: true });
  mkdirSync(FIREFOX_DOWNLOADS, { recursive: true });
  await act();
  const end = Date.now() + timeout;
  while (Date.now() < end) {
    const path = whole();
    if (path) return { name: basename(path), bytes: readFileSync(path) };
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  throw new Error(`nothing was saved in ${timeout} ms: ${readdirSync(FIREFOX_DOWNLOADS).join(', ') || 'the folder is empty'}`);
}

/** Firefox reserves the name with an empty file, writes NAME.part and renames it. */
function whole(): string | null {
  const names = readdirSync(FIREFOX_DOWNLOADS);
  if (names.length !== 1 || names[0]!.endsWith('.part')) return null;
  const path = join(FIREFOX_DOWNLOADS, names[0]!);
  return existsSync(path) && statSync(path).size > 0 ? path : null;
}
