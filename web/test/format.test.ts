import { describe, expect, it } from 'vitest';
import { bytes, clock, delay, percent, rate, timeLeft } from '../src/format';

describe('time and bytes as people read them', () => {
  it('shows hours only when there are some', () => {
    expect([0, 7.9, 61, 723, 3723].map(clock)).toEqual(['0:00', '0:07', '1:01', '12:03', '1:02:03']);
  });

  it('has no clock for what is no time', () => {
    expect([NaN, Infinity, -1].map(clock)).toEqual(['–:––', '–:––', '–:––']);
  });

  it('shows two digits that matter, in decimal units', () => {
    const shown = [0, 999, 1000, 4_242_000, 9_960_000, 12_345_678, 999_600, 734_003_200, 4_000_000_000].map(bytes);
    expect(shown).toEqual(['0 B', '999 B', '1.0 KB', '4.2 MB', '10 MB', '12 MB', '1.0 MB', '734 MB', '4.0 GB']);
  });

  it('says rates per second', () => {
    expect(rate(1_340_000)).toBe('1.3 MB/s');
  });

  it('says 100 % only of a whole', () => {
    expect([0, 0.29, 0.999, 1, 1.2, NaN].map(percent)).toEqual(['0 %', '29 %', '99 %', '100 %', '100 %', '0 %']);
  });

  it('shows short delays finer than long ones', () => {
    expect([230, 996, 4120, 12_400].map(delay)).toEqual(['0.23 s', '1.0 s', '4.1 s', '12 s']);
  });

  it('rounds time left up, and says nothing when nobody knows', () => {
    expect(timeLeft(0.2)).toEqual({ hours: 0, minutes: 0, seconds: 1 });
    expect(timeLeft(61)).toEqual({ hours: 0, minutes: 2, seconds: 0 });
    expect(timeLeft(3700)).toEqual({ hours: 1, minutes: 2, seconds: 0 });
    expect([timeLeft(Infinity), timeLeft(NaN), timeLeft(1e9)]).toEqual([null, null, null]);
  });
});
