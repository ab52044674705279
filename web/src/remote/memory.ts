/** What a browser keeps of the other ends, in localStorage. All of it may be missing: then nothing is remembered. */

/** A television that this browser may command. */
export interface KnownTv {
  name: string;
  /** For `remote-wasm`. Whoever has it commands the television. */
  bytes: Uint8Array;
}

/** More than a house has. */
const TVS_MAX = 12;

export function knownTvs(): KnownTv[] {
  try {
    const list = JSON.parse(localStorage.getItem('baton.tvs') || '[]') as { name: string; key: string }[];
    return list.map(({ name, key }) => ({ name: String(name), bytes: bytesOf(key) }));
  } catch {
    return [];
  }
}

/** Puts a television first: it was used last. */
export function rememberTv(tv: KnownTv): void {
  const others = knownTvs().filter((it) => textOf(it.bytes) !== textOf(tv.bytes));
  keepTvs([tv, ...others]);
}

export function forgetTv(tv: KnownTv): void {
  keepTvs(knownTvs().filter((it) => textOf(it.bytes) !== textOf(tv.bytes)));
}

function keepTvs(list: KnownTv[]): void {
  keep('baton.tvs', JSON.stringify(list.slice(0, TVS_MAX).map(({ name, bytes }) => ({ name, key: textOf(bytes) }))));
}

/** What this browser calls itself to televisions. */
export function ownName(): string {
  return read('baton.me') || guessedName();
}

export const keepOwnName = (name: string): void => keep('baton.me', name.trim());

/** Of a television: who it is and whom it knows. */
export function savedTv(): Uint8Array {
  try {
    return bytesOf(read('baton.tv'));
  } catch {
    return new Uint8Array(0);
  }
}

export const saveTv = (bytes: Uint8Array): void => keep('baton.tv', textOf(bytes));

function guessedName(): string {
  const known = /iPhone|iPad|Android|Windows|Macintosh|CrOS|Linux/.exec(navigator.userAgent);
  const names: Record<string, string> = { Android: 'Android phone', Windows: 'Windows computer', Macintosh: 'Mac', CrOS: 'Chromebook', Linux: 'Linux computer' };
  return known ? (names[known[0]] ?? known[0]) : 'Browser';
}

function read(name: string): string {
  try {
    return localStorage.getItem(name) || '';
  } catch {
    return '';
  }
}

function keep(name: string, text: string): void {
  try {
    localStorage.setItem(name, text);
  } catch {
    // A private window, or a full one: it is forgotten when the page is left.
  }
}

const textOf = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));
const bytesOf = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
