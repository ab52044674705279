/**
 * The tabs of this browser that have the same stream open: one of them is in its swarm, the others have what they need from it
 * (docs/storage.md). A page that publishes the stream leads; otherwise the first one does, and when it closes the next one.
 *
 * The tabs find each other by a BroadcastChannel; what they then exchange goes from worker to worker (worker-tabs.ts).
 */
import type { Share, View } from './api';
import { seatLock, type Seat } from './seat';
import { baton, workerOf } from './session';
import script from './worker-tabs?worker&url';

/** What of the engine only this file uses. */
interface Seated {
  /** The stream's number in this page's engine, and this peer's id. */
  seat(): [number, ArrayBuffer];
}
interface Leading extends Seated {
  /** Joins the swarm, or leaves it to another tab. */
  lead(leads: boolean): void;
}

/** For the worker: a connection to another tab, or the end of one. */
export type TabNews = { id: string; stream: number; peer: ArrayBuffer; offerer: boolean } | { id: string; gone: true };

/** Between tabs. */
type Word = { leads: true } | { ask: string; peer: ArrayBuffer } | { answer: string; peer: ArrayBuffer };

/** How long whoever leads may take to answer, milliseconds: a page that a telephone has put to sleep keeps its lock, and answers nobody. */
const PATIENCE_MS = 4000;
/** Before a connection that ended by itself is asked for again, milliseconds. */
const AGAIN_MS = 1000;

/** Whoever asked for a connection has this Web Lock as long as it lives: the leader waits for its end. */
const lifeLock = (id: string): string => `baton tab ${id}`;

class Tab {
  readonly #side: Seated;
  readonly #worker: Worker;
  readonly #channel: BroadcastChannel;
  readonly #hears: (event: MessageEvent) => void;
  #leads = false;
  /** The connection that this tab asked for last. */
  #id = '';
  #die: () => void = () => undefined;
  #late = 0;

  /** `broken`: this tab's engine is no more. `unheard`: whoever leads does not answer. */
  constructor(
    side: Seated,
    fragment: string,
    worker: Worker,
    broken: () => void,
    private readonly unheard: () => void = () => undefined,
  ) {
    this.#side = side;
    this.#worker = worker;
    this.#channel = new BroadcastChannel(`baton tabs ${fragment}`);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#hears = ({ data }) => {
      if (this.#id === '') return;
      if (data.began === this.#id) clearTimeout(this.#late);
      if (data.ended === this.#id) setTimeout(() => this.#ask(), AGAIN_MS);
    };
    worker.addEventListener('message', this.#hears);
    // An engine that is no more leads nobody.
    worker.addEventListener('error', broken);
  }

  lead(): void {
    this.#leads = true;
    this.#drop();
    this.#say({ leads: true });
  }

  follow(): void {
    this.#leads = false;
    this.#id = 'none yet';
    this.#ask();
  }

  leave(): void {
    this.#leads = false;
    this.#drop();
    this.#worker.removeEventListener('message', this.#hears);
    this.#channel.close();
  }

  #hear(word: Word): void {
    if ('leads' in word) this.#ask();
    else if ('ask' in word && this.#leads) {
      const { ask: id, peer } = word;
      this.#tell({ id, stream: this.#side.seat()[0], peer, offerer: false });
      this.#say({ answer: id, peer: this.#side.seat()[1] });
      void navigator.locks.request(lifeLock(id), () => this.#tell({ id, gone: true }));
    } else if ('answer' in word && word.answer === this.#id) {
      this.#tell({ id: this.#id, stream: this.#side.seat()[0], peer: word.peer, offerer: true });
    }
  }

  /** Nobody answers as long as nobody leads: whoever begins to says so. */
  #ask(): void {
    if (this.#leads || this.#id === '') return;
    this.#drop();
    const id = (this.#id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''));
    void navigator.locks.request(lifeLock(id), () => {
      if (this.#id !== id) return undefined;
      this.#say({ ask: id, peer: this.#side.seat()[1] });
      this.#late = window.setTimeout(this.unheard, PATIENCE_MS);
      return new Promise<void>((die) => (this.#die = die));
    });
  }

  #drop(): void {
    if (this.#id !== '') this.#tell({ id: this.#id, gone: true });
    this.#id = '';
    clearTimeout(this.#late);
    this.#die();
  }

  #say(word: Word): void {
    this.#channel.postMessage(word);
  }

  #tell(tab: TabNews): void {
    this.#worker.postMessage({ tab, script: new URL(script, import.meta.url).href });
  }
}

/** A place among the tabs; it is left when the stream is closed here. */
export interface Place {
  leave(): void;
}

/** For a view that was opened as `seat` says. */
export function sitDown(view: View, seat: Seat): Place {
  const leading = view as View & Leading;
  let waits = new AbortController();
  let release = (): void => seat.release();
  /** Counts requests for the lock: only the last one matters. */
  let round = 0;
  let gone = false;
  const leave = (): void => {
    if (gone) return;
    gone = true;
    waits.abort();
    tab.leave();
    release();
  };
  const lead = (): Promise<void> | undefined => {
    if (gone) return undefined;
    leading.lead(true);
    tab.lead();
    return new Promise((done) => (release = done));
  };
  const stand = (options: LockOptions): void => {
    const mine = ++round;
    // Rejected when another page takes it, and when this one wants it no more.
    navigator.locks.request(seatLock(seat.fragment), options, lead).catch(() => {
      if (mine === round) follow();
    });
  };
  const follow = (): void => {
    if (gone) return;
    leading.lead(false);
    waits = new AbortController();
    tab.follow();
    stand({ signal: waits.signal });
  };
  const dethrone = (): void => {
    stand({ steal: true });
    waits.abort();
  };
  const tab = new Tab(leading, seat.fragment, workerOf(baton.client!), leave, dethrone);
  seat.onlost = follow;
  if (seat.leads) tab.lead();
  else follow();
  return { leave };
}

/** A publisher leads, whoever did before: everybody needs it anyway. */
export function preside(share: Share): Place {
  const fragment = new URL(share.url).hash.slice(1);
  let release = (): void => undefined;
  const leave = (): void => {
    tab.leave();
    release();
  };
  const tab = new Tab(share as Share & Seated, fragment, workerOf(baton.client!), leave);
  const lead = (): Promise<void> => {
    tab.lead();
    return new Promise((done) => (release = done));
  };
  // Another page that goes on with the same share would be refused by the share's own lock.
  navigator.locks.request(seatLock(fragment), { steal: true }, lead).catch(leave);
  return { leave };
}
