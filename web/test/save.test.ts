/// <reference lib="es2021.weakref" />
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Job } from '../src/save/job';
import { MEMORY_MAX, SMALL_MAX, waysFor, type Target } from '../src/save/ways';

const all = { pick: true, work: true, room: Infinity };
const none = { pick: false, work: false, room: 0 };

describe('where a file is saved', () => {
  it('asks nobody about a small one', () => {
    expect(waysFor(SMALL_MAX, all)).toEqual(['memory']);
    expect(waysFor(0, none)).toEqual(['memory']);
  });

  it('streams a large one, the best way first', () => {
    expect(waysFor(SMALL_MAX + 1, all)).toEqual(['file', 'stream', 'disk', 'memory']);
    expect(waysFor(20e9, { ...all, pick: false })).toEqual(['stream', 'disk']);
    expect(waysFor(20e9, { ...none, room: 21e9 })).toEqual(['disk']);
    expect(waysFor(20e9, { ...none, room: 19e9 })).toEqual([]);
  });

  it('takes no more into memory than it says', () => {
    expect(waysFor(MEMORY_MAX, none)).toEqual(['memory']);
    expect(waysFor(MEMORY_MAX + 1, none)).toEqual([]);
  });
});

type Piece = Uint8Array<ArrayBuffer> | null;

const piece = (): Piece => new Uint8Array(1 << 20);
const never = new Promise<never>(() => undefined);

/** A job of these doors, which takes nothing and gives nothing by default, and how often its target was given up and closed. */
function job(doors: { next?: () => Promise<Piece>; write?: Target['write']; close?: Target['close'] }) {
  const ends = { aborted: 0, closed: 0 };
  const target: Target = {
    way: 'stream',
    write: async () => undefined,
    ...doors,
    close: async () => {
      ends.closed++;
      await doors.close?.();
    },
    abort: async () => ends.aborted++,
  };
  const saving = { id: 'it', link: 'it', file: 0, name: 'it', size: 3 << 20 };
  return { ends, target, job: new Job(saving, target, { next: doors.next ?? (async () => null), hash: null }) };
}

describe('who cancels a file that is being saved', () => {
  const heard = async ({ job: it, ends }: ReturnType<typeof job>): Promise<void> => {
    await it.run();
    expect(it.state.value.phase).toBe('cancelled');
    expect(ends).toEqual({ aborted: 1, closed: 0 });
  };

  it('is heard before it begins', () => {
    const it = job({});
    it.job.cancel();
    return heard(it);
  });

  it('is heard while it is paused', async () => {
    const it = job({ next: async () => (it.job.pause(), setImmediate(() => it.job.cancel()), piece()) });
    await heard(it);
  });

  it('is heard while a piece is waited for', async () => {
    const it = job({ next: () => (setImmediate(() => it.job.cancel()), never) });
    await heard(it);
  });

  it('is heard while the target has no room', async () => {
    const it = job({ next: async () => piece(), write: () => (setImmediate(() => it.job.cancel()), never) });
    await heard(it);
  });

  it('is heard from the target as well, and at the very end', async () => {
    const close = async (): Promise<never> => {
      it.target.onabort?.();
      throw new Error('cancelled');
    };
    const it = job({ close });
    await it.job.run();
    expect(it.job.state.value.phase).toBe('cancelled');
    expect(it.ends).toEqual({ aborted: 1, closed: 1 });
  });
});

describe('a file that is being saved', () => {
  it('keeps none of the pieces that were written', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const handed: WeakRef<object>[] = [];
    let kept = 0;
    const next = async (): Promise<Piece> => {
      if (handed.length === 20) {
        // What a task has looked at lives until it ends.
        await new Promise(setImmediate);
        collect();
        kept = handed.filter((it) => it.deref()).length;
        return null;
      }
      const bytes = piece();
      handed.push(new WeakRef(bytes!));
      return bytes;
    };
    const it = job({ next });
    await it.job.run();
    expect(it.job.state.value.phase).toBe('saved');
    // The last one may still be in somebody's hand.
    expect(kept).toBeLessThanOrEqual(2);
  });
});
