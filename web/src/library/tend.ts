/**
 * Behind every page: writes down what it has open for the library, and passes on what is kept whole.
 *
 * One page of this browser does the passing on, whoever has the lock `baton tending`; when it closes, the next one does. A stream that
 * a person opens belongs to the page that they opened it in: it is given up at once and taken back when that page is gone.
 */
import type { View } from '../api';
import { lockOf } from '../folder';
import { baton, session } from '../session';
import { canLook, passedOn, streams, type Stream } from './streams';

/** How often it is written down how far things are, milliseconds. */
const NOTE_MS = 5000;
/** Before a page begins to pass on what it was not opened for, milliseconds. */
const MOMENT_MS = 20_000;
/** Before a stream is asked for that another page has just taken: its request goes first. */
const COURTESY_MS = 1000;

/** What this page passes on, by folder. */
export const tended = new Map<string, View>();
let begun = false;

export function tend(wait = MOMENT_MS): void {
  // The one that plays files (raw.ts), which an earlier page needed.
  if (navigator.serviceWorker?.controller) void import('../raw').then((part) => part.sweep()).catch(() => undefined);
  if (begun || session.embedded || !canLook()) return;
  begun = true;
  // A private window keeps no records.
  const note = (): void => void noteAll().catch(() => undefined);
  note();
  setInterval(note, NOTE_MS);
  addEventListener('visibilitychange', note);
  // Who saves data gives nothing that they were not asked for.
  const { connection } = navigator as { connection?: { saveData?: boolean } };
  if (!connection?.saveData) setTimeout(() => void navigator.locks.request('baton tending', passOn), wait);
}

const seen = new WeakMap<View, { sent: number; received: number; confirmed: number; by: number }>();

async function noteAll(): Promise<void> {
  if (baton.view) await noteView(baton.view, session.link);
  for (const view of tended.values()) await noteView(view, null);
}

/** `link`: of a stream that a person has open, which may not be known yet. */
async function noteView(view: View, link: string | null): Promise<void> {
  const { folder } = view;
  const stats = view.stats();
  if (folder === '' || stats.bytes_stored === 0 || stats.size === 0) return;
  const { title } = await view.meta;
  const before = seen.get(view) ?? { sent: 0, received: 0, confirmed: 0, by: 0 };
  seen.set(view, { sent: stats.bytes_sent, received: stats.bytes_received, confirmed: stats.bytes_confirmed, by: stats.confirmed_by });
  await streams.change(folder, (known) => {
    const old = known ?? (link === null ? undefined : fresh(folder, link));
    return (
      old && {
        ...old,
        title,
        size: stats.size,
        have: stats.have,
        given: old.given + stats.bytes_sent - before.sent,
        taken: old.taken + stats.bytes_received - before.received,
        confirmed: (old.confirmed ?? 0) + stats.bytes_confirmed - before.confirmed,
        confirmedBy: (old.confirmedBy ?? 0) + stats.confirmed_by - before.by,
        at: link === null ? old.at : Date.now(),
      }
    );
  });
}

const fresh = (folder: string, link: string): Stream => ({ folder, link, title: '', size: 0, have: 0, given: 0, taken: 0, at: 0, seed: true });

/** Until this page is closed. */
function passOn(): Promise<never> {
  const channel = new BroadcastChannel('baton');
  const wanted = new Map<string, Stream>();
  /** Asked for, but not ours yet. */
  const asked = new Set<string>();
  /** Opened by us: our own worker says so, too. */
  const ours = new Set<string>();

  const look = async (): Promise<void> => {
    const all = await streams.all().catch((): Stream[] => []);
    wanted.clear();
    for (const stream of passedOn(all)) wanted.set(stream.folder, stream);
    for (const folder of tended.keys()) if (!wanted.has(folder)) giveUp(folder);
    for (const folder of wanted.keys()) void take(folder);
  };

  const take = async (folder: string): Promise<void> => {
    if (asked.has(folder) || tended.has(folder) || !baton.client) return;
    asked.add(folder);
    // Not before nobody else has it, or waits for it: a page in which a person has it open goes first, and this is looked at again soon.
    const { locks } = navigator;
    await locks.request(lockOf(folder), () => undefined);
    const { held = [], pending = [] } = await locks.query();
    asked.delete(folder);
    if ([...held, ...pending].some(({ name }) => name === lockOf(folder))) return;
    const stream = wanted.get(folder);
    if (!stream || !(await streams.get(folder).catch(() => undefined)) || tended.has(folder)) return;
    ours.add(folder);
    tended.set(folder, baton.client.open(stream.link));
  };

  const giveUp = (folder: string): void => {
    tended.get(folder)?.close();
    tended.delete(folder);
  };

  channel.onmessage = ({ data: folder }: MessageEvent<string>) => {
    if (folder === '') return void look();
    if (ours.delete(folder) || !tended.has(folder)) return;
    giveUp(folder);
    setTimeout(() => void look(), COURTESY_MS);
  };
  void look();
  setInterval(() => void look(), NOTE_MS);
  return new Promise(() => undefined);
}
