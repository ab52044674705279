/** Numbers as people read them: `1:02:03`, `4.2 MB`. Pure; units are decimal (SI), as file managers show them. */

/** `0:07`, `12:03`, `1:02:03`. */
export function clock(seconds: number): string {
  if (!isFinite(seconds) || seconds < 0) return '–:––';
  const whole = Math.floor(seconds);
  const s = String(whole % 60).padStart(2, '0');
  const m = Math.floor(whole / 60) % 60;
  const h = Math.floor(whole / 3600);
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

/** `512 B`, `4.2 MB`, `12 GB`: two digits that matter, no more. */
export function bytes(count: number): string {
  if (!isFinite(count) || count < 0) return '–';
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `1.3 MB/s`. */
export const rate = (bytesPerSecond: number): string => `${bytes(bytesPerSecond)}/s`;

/** `64 %`. Rounds down: 100 % is said only of a whole. */
export const percent = (fraction: number): string => `${wholePercent(fraction)} %`;

export function wholePercent(fraction: number): number {
  if (!(fraction > 0)) return 0;
  // A hair of tolerance: 0.29 * 100 is 28.999999999999996.
  return Math.min(100, Math.floor(fraction * 100 + 1e-9));
}

/** `0.42 s`, `4.1 s`, `12 s`: a delay. */
export function delay(milliseconds: number): string {
  const s = milliseconds / 1000;
  return `${s < 0.995 ? s.toFixed(2) : s < 9.95 ? s.toFixed(1) : s.toFixed(0)} s`;
}

/** Time left in round words' numbers: seconds below a minute, minutes below an hour, then hours and minutes. */
export function timeLeft(seconds: number): { hours: number; minutes: number; seconds: number } | null {
  if (!isFinite(seconds) || seconds < 0 || seconds > 360_000) return null;
  if (seconds < 60) return { hours: 0, minutes: 0, seconds: Math.ceil(seconds) };
  const minutes = Math.ceil(seconds / 60);
  return { hours: Math.floor(minutes / 60), minutes: minutes % 60, seconds: 0 };
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];
