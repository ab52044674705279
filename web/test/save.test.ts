import { describe, expect, it } from 'vitest';
import { MEMORY_MAX, SMALL_MAX, waysFor } from '../src/save/ways';

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
