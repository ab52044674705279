/**
 * Which tab of this browser is in a stream's swarm: whoever has this Web Lock, for all tabs that have the same link open (docs/storage.md).
 *
 * It is asked for while the WASM loads, so that nothing waits for the answer; what follows from it comes later (tabs.ts).
 */
export interface Seat {
  readonly fragment: string;
  /** Whether this tab has it; `null` for the few milliseconds until that is known. */
  leads: boolean | null;
  known: Promise<void>;
  /** Gives it to the next tab. */
  release(): void;
  /** A page that publishes the stream took it. */
  onlost(): void;
}

export const seatLock = (fragment: string): string => `baton seat ${fragment}`;

export function askSeat(fragment: string): Seat {
  let given = false;
  const seat: Seat = { fragment, leads: null, known: Promise.resolve(), release: () => void (given = true), onlost: () => undefined };
  const { locks } = navigator;
  // Insecure pages, and engines before 2022: each tab is a peer of its own.
  if (!locks) seat.leads = true;
  else {
    seat.known = new Promise((resolve) => {
      const asked = locks.request(seatLock(fragment), { ifAvailable: true }, (lock) => {
        seat.leads = lock !== null;
        resolve();
        return lock && !given ? new Promise<void>((release) => (seat.release = release)) : undefined;
      });
      asked.catch(() => {
        // Without an answer, locks are forbidden here; after one, somebody took this one.
        seat.leads = seat.leads === null;
        resolve();
        seat.onlost();
      });
    });
  }
  return seat;
}
