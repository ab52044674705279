import { beforeAll, describe, expect, it, vi } from 'vitest';

let plot: typeof import('../src/ui/plot');
beforeAll(async () => {
  vi.doMock('../src/ui/state', () => ({ samples: { value: [] }, SAMPLES_KEPT: 120 }));
  plot = await import('../src/ui/plot');
});

describe('the speed plot', () => {
  it('scales to the next 1, 2 or 5', () => {
    expect([100_000, 130_000, 240_000, 900_000, 5_000_001].map(plot.niceTop)).toEqual([1e5, 2e5, 5e5, 1e6, 1e7]);
  });

  it('shows half a minute, a minute, then two', () => {
    expect([1, 30, 31, 60, 61, 120].map(plot.spanOf)).toEqual([30, 30, 60, 60, 120, 120]);
  });

  it('puts the newest sample at the right edge', () => {
    const samples = [{ down: 0, up: 0 }, { down: 50, up: 0 }];
    expect(plot.line(samples, (it) => it.down, 100, 121)).toBe('M476.0 119.0L480.0 61.0');
  });
});
