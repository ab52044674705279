/**
 * Files in one zip, stored as they are (APPNOTE.TXT 6.3.10): films do not get smaller. Larger than 4 GB where it must be (zip64).
 *
 * It is a stream: each file is read once and is in memory a piece at a time, so its checksum stands behind it and in the directory.
 */
export interface Part {
  path: string;
  /** Bytes. */
  size: number;
  open(): Promise<{ next(): Promise<Uint8Array<ArrayBuffer> | null> }>;
}

export async function* zip(parts: Part[]): AsyncGenerator<Uint8Array<ArrayBuffer>, null> {
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (const { path, size, open } of parts) {
    const entry = { name: new TextEncoder().encode(path), size, crc: 0, at };
    const head = localHeader(entry);
    yield head;
    let crc = -1;
    const reader = await open();
    for (let bytes = await reader.next(); bytes; bytes = await reader.next()) {
      crc = crcOn(crc, bytes);
      yield bytes;
    }
    entry.crc = ~crc >>> 0;
    const behind = descriptor(entry);
    yield behind;
    directory.push(directoryEntry(entry));
    at += head.length + size + behind.length;
  }
  yield* directory;
  yield end(parts.length, total(directory), at);
  return null;
}

/** How long the zip of these will be, bytes. */
export function zipSize(parts: Pick<Part, 'path' | 'size'>[]): number {
  let at = 0;
  let directory = 0;
  for (const { path, size } of parts) {
    const entry = { name: new TextEncoder().encode(path), size, crc: 0, at };
    directory += directoryEntry(entry).length;
    at += localHeader(entry).length + size + descriptor(entry).length;
  }
  return at + directory + end(parts.length, directory, at).length;
}

const total = (parts: Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);

/** Paths below a folder, none in another's place, also where case does not count. What each may be named, the engine has seen to. */
export function places(folder: string, paths: string[]): string[] {
  const taken = new Set<string>();
  // What is a folder for one path cannot be a file for another: files give way.
  for (const path of paths) for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) taken.add(path.slice(0, at).toLowerCase());
  return paths.map((path) => {
    const [, stem, ending] = /^(.*?)(\.[^./]*)?$/.exec(path)!;
    let place = path;
    for (let n = 2; taken.has(place.toLowerCase()); n++) place = `${stem} (${n})${ending ?? ''}`;
    taken.add(place.toLowerCase());
    return `${folder}/${place}`;
  });
}

export interface Entry {
  name: Uint8Array;
  size: number;
  crc: number;
  /** Where its local header stands. */
  at: number;
}

/** What does not fit into 32 bits stands in an extra field. */
const MAX = 0xffffffff;
/** Names are UTF-8 (bit 11); checksum and sizes stand behind the file (bit 3). */
const FLAGS = 0x808;
/** Version 4.5: the first with zip64. */
const VERSION = 45;
/** 1 January 1980, the first day there is: a manifest has no times. */
const DAY = 0x21;

export function localHeader({ name, size }: Entry): Uint8Array<ArrayBuffer> {
  const large = size >= MAX;
  const out = new Fields().u32(0x04034b50).u16(VERSION).u16(FLAGS).u16(0).u16(0).u16(DAY).u32(0);
  out.u32(large ? MAX : 0).u32(large ? MAX : 0).u16(name.length).u16(large ? 20 : 0).bytes(name);
  // It says that the sizes behind the file have 64 bits.
  if (large) out.u16(1).u16(16).u64(0).u64(0);
  return out.done();
}

export function descriptor({ size, crc }: Entry): Uint8Array<ArrayBuffer> {
  const out = new Fields().u32(0x08074b50).u32(crc);
  return size >= MAX ? out.u64(size).u64(size).done() : out.u32(size).u32(size).done();
}

export function directoryEntry({ name, size, crc, at }: Entry): Uint8Array<ArrayBuffer> {
  const extra = [...(size >= MAX ? [size, size] : []), ...(at >= MAX ? [at] : [])];
  const out = new Fields().u32(0x02014b50).u16(VERSION).u16(VERSION).u16(FLAGS).u16(0).u16(0).u16(DAY).u32(crc);
  out.u32(size >= MAX ? MAX : size).u32(size >= MAX ? MAX : size).u16(name.length);
  out.u16(extra.length > 0 ? 4 + 8 * extra.length : 0).u16(0).u16(0).u16(0).u32(0).u32(at >= MAX ? MAX : at).bytes(name);
  if (extra.length > 0) out.u16(1).u16(8 * extra.length);
  for (const value of extra) out.u64(value);
  return out.done();
}

export function end(count: number, size: number, at: number): Uint8Array<ArrayBuffer> {
  const out = new Fields();
  if (count >= 0xffff || size >= MAX || at >= MAX) {
    out.u32(0x06064b50).u64(44).u16(VERSION).u16(VERSION).u32(0).u32(0).u64(count).u64(count).u64(size).u64(at);
    out.u32(0x07064b50).u32(0).u64(at + size).u32(1);
  }
  const short = Math.min(count, 0xffff);
  return out.u32(0x06054b50).u16(0).u16(0).u16(short).u16(short).u32(Math.min(size, MAX)).u32(Math.min(at, MAX)).u16(0).done();
}

/** Numbers, little-endian. */
class Fields {
  private all: number[] = [];
  u16 = (value: number): this => this.push(value, 2);
  u32 = (value: number): this => this.push(value, 4);
  u64 = (value: number): this => this.push(value, 8);
  bytes(bytes: Uint8Array): this {
    for (const byte of bytes) this.all.push(byte);
    return this;
  }
  done(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.all);
  }
  private push(value: number, length: number): this {
    for (let i = 0; i < length; i++) {
      this.all.push(value % 256);
      value = Math.floor(value / 256);
    }
    return this;
  }
}

/** CRC-32 as zip has it, from what it was before (-1 at first, inverted in the end), four bytes at a time. */
export function crcOn(crc: number, bytes: Uint8Array): number {
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc = TABLES[3]![crc & 255]! ^ TABLES[2]![(crc >>> 8) & 255]! ^ TABLES[1]![(crc >>> 16) & 255]! ^ TABLES[0]![crc >>> 24]!;
  }
  for (; i < bytes.length; i++) crc = TABLES[0]![(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return crc;
}

const TABLES = tables();

function tables(): Int32Array[] {
  const all = [0, 1, 2, 3].map(() => new Int32Array(256));
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    all[0]![n] = crc;
  }
  for (let k = 1; k < 4; k++) {
    for (let n = 0; n < 256; n++) all[k]![n] = (all[k - 1]![n]! >>> 8) ^ all[0]![all[k - 1]![n]! & 255]!;
  }
  return all;
}
