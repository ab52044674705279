// Medians and how numbers are written.

export function median(values) {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** 1234.5 ms → `1.23 s`, 45 ms → `45 ms`. */
export function time(ms) {
  if (!Number.isFinite(ms)) return '–';
  return ms < 100 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

export const ratio = (value) => (Number.isFinite(value) ? value.toFixed(2) : '–');
export const percent = (value) => (Number.isFinite(value) ? `${Math.round(value * 100)} %` : '–');

/** `1.52× HTTP`, or a dash when one of the two was not measured. */
export const times = (ours, theirs, name) => (Number.isFinite(ours / theirs) ? `${ratio(ours / theirs)}× ${name}` : '–');

/** Whether a bar is met; null when ours was not measured. */
export const met = (ours, holds) => (Number.isFinite(ours) ? holds : null);
