import { crc32 as expected } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { crcOn, descriptor, directoryEntry, end, localHeader, places, zip, zipSize, type Part } from '../src/zip';

/** What a reader of zips makes of one: end, directory, local headers. */
function read(bytes: Buffer): Record<string, string> {
  const last = bytes.length - 22;
  expect(bytes.readUInt32LE(last)).toBe(0x06054b50);
  const found: Record<string, string> = {};
  let at = bytes.readUInt32LE(last + 16);
  for (let n = bytes.readUInt16LE(last + 10); n > 0; n--) {
    expect(bytes.readUInt32LE(at)).toBe(0x02014b50);
    const [crc, size] = [bytes.readUInt32LE(at + 16), bytes.readUInt32LE(at + 24)];
    const name = bytes.toString('utf8', at + 46, at + 46 + bytes.readUInt16LE(at + 28));
    const local = bytes.readUInt32LE(at + 42);
    expect(bytes.readUInt32LE(local)).toBe(0x04034b50);
    const begin = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const data = bytes.subarray(begin, begin + size);
    expect(crc).toBe(expected(data));
    // Behind it stands the same.
    expect(bytes.readUInt32LE(begin + size)).toBe(0x08074b50);
    expect(bytes.readUInt32LE(begin + size + 4)).toBe(crc);
    expect(bytes.readUInt32LE(begin + size + 8)).toBe(size);
    found[name] = data.toString();
    at += 46 + bytes.readUInt16LE(at + 28) + bytes.readUInt16LE(at + 30);
  }
  expect(at).toBe(last);
  return found;
}

/** A file that comes in pieces of so many bytes. */
const part = (path: string, text: string, piece = 7): Part => {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  const next = async () => (at < bytes.length ? bytes.slice(at, (at += piece)) : null);
  return { path, size: bytes.length, open: async () => ({ next }) };
};

describe('zip', () => {
  it('holds every file as it is, and is as long as was said before', async () => {
    const parts = { 'f/a.txt': 'hello', 'f/ünï/b': '', 'f/c': 'x'.repeat(70_001) };
    const list = Object.entries(parts).map(([path, text]) => part(path, text));
    const all: Uint8Array[] = [];
    for await (const bytes of zip(list)) all.push(bytes);
    const whole = Buffer.concat(all);
    expect(read(whole)).toEqual(parts);
    expect(zipSize(list)).toBe(whole.length);
  });

  it('checks across its pieces', () => {
    const bytes = new Uint8Array((1 << 20) + 7).map((_, i) => (i * 31) >> 3);
    const crc = crcOn(crcOn(-1, bytes.subarray(0, 1001)), bytes.subarray(1001));
    expect(~crc >>> 0).toBe(expected(bytes));
  });

  it('says in 64 bits what 32 are too few for, and only that', () => {
    const name = Buffer.from('film');
    const small = Buffer.from(localHeader({ name, size: 5e9, crc: 1, at: 0 }));
    expect(small.readUInt32LE(22)).toBe(0xffffffff);
    expect(small.readUInt16LE(30 + 4)).toBe(1);
    const behind = Buffer.from(descriptor({ name, size: 5e9, crc: 1, at: 0 }));
    expect(behind.readBigUInt64LE(8)).toBe(5_000_000_000n);
    expect(descriptor({ name, size: 5, crc: 1, at: 0 })).toHaveLength(16);
    const far = Buffer.from(directoryEntry({ name, size: 9, crc: 1, at: 6e9 }));
    expect([far.readUInt32LE(24), far.readUInt32LE(42)]).toEqual([9, 0xffffffff]);
    expect(far.readUInt16LE(30)).toBe(12);
    expect(far.readBigUInt64LE(46 + 4 + 4)).toBe(6_000_000_000n);
    const last = Buffer.from(end(70_000, 10, 6e9));
    expect(last.readUInt32LE(0)).toBe(0x06064b50);
    expect([last.readBigUInt64LE(32), last.readBigUInt64LE(48)]).toEqual([70_000n, 6_000_000_000n]);
    expect(last.readBigUInt64LE(56 + 8)).toBe(6_000_000_010n);
    expect(end(3, 10, 20)).toHaveLength(22);
  });

  it('puts no file in the place of another', () => {
    expect(places('f', ['a.txt', 'A.TXT', 'b/c', 'B', 'a.txt'])).toEqual(['f/a.txt', 'f/A (2).TXT', 'f/b/c', 'f/B (2)', 'f/a (3).txt']);
  });
});
