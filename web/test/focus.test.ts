import { expect, it } from 'vitest';
import { nextBox, type Box } from '../src/tv/focus';

const box = (left: number, top: number, width = 100, height = 40): Box => ({ left, top, right: left + width, bottom: top + height });

// Two rows of three, and a wide bar above.
const bar = box(0, 0, 600);
const [a, b, c] = [box(0, 100), box(200, 100), box(400, 100)];
const [d, e, f] = [box(0, 200), box(200, 200), box(400, 200)];

it('goes to the neighbour in the row, and stops at its end', () => {
  expect(nextBox(a, [bar, b, c, d, e, f], 'right')).toBe(1);
  expect(nextBox(c, [bar, a, b, d, e, f], 'left')).toBe(2);
  expect(nextBox(c, [bar, a, b, d, e, f], 'right')).toBe(-1);
});

it('goes to what is right below or above, not to what is nearer aside', () => {
  expect(nextBox(b, [bar, a, c, d, e, f], 'down')).toBe(4);
  expect(nextBox(e, [bar, a, b, c, d, f], 'up')).toBe(2);
  expect(nextBox(c, [bar, a, b, d, e, f], 'up')).toBe(0);
  expect(nextBox(bar, [a, b, c, d, e, f], 'down')).toBe(1);
});

it('goes to something aside rather than nowhere', () => {
  expect(nextBox(box(700, 0), [a], 'down')).toBe(0);
});
