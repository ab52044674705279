// Reads content/tests/golden/vectors.txt as docs/protocol.md says, with none of Baton's code: noble's hashes and ciphers, Node's
// Ed25519, and BLAKE3's tree by hand, because no library shows its inner nodes.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { xchacha20, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { blake3 } from '@noble/hashes/blake3.js';

const file = new URL('../../content/tests/golden/vectors.txt', import.meta.url);
const lines = readFileSync(file, 'utf8').trim().split('\n');
const vectors = new Map(lines.map((line) => line.split(' ')));
const used = new Set();

const raw = (name) => {
  used.add(name);
  assert.ok(vectors.has(name), name);
  return vectors.get(name);
};
const b = (name) => Buffer.from(raw(name), 'hex');
const cat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));
const hash = (data, options) => Buffer.from(blake3(data, options));
const derive = (context, material) => hash(material, { context: Buffer.from(context) });
const u8 = (...bytes) => Buffer.from(bytes);
const little = (bytes) => (n) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64LE(BigInt(n));
  return buffer.subarray(0, bytes);
};
const [u16, u32, u64] = [little(2), little(4), little(8)];

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

function publicKey(seed) {
  const key = crypto.createPrivateKey({ key: cat(PKCS8, seed), format: 'der', type: 'pkcs8' });
  return crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
}

/** Takes the publisher's signature off; fails when it is wrong. */
function signed(data) {
  const key = crypto.createPublicKey({ key: cat(SPKI, b('publisher')), format: 'der', type: 'spki' });
  assert.ok(crypto.verify(null, data.subarray(0, -64), key, data.subarray(-64)), 'the signature');
  return data.subarray(0, -64);
}

/** As in zlib and PNG. */
function crc32(data) {
  let crc = -1;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function text(name) {
  const data = Buffer.from(raw(name), 'base64url');
  assert.equal(data.toString('base64url'), raw(name), 'no padding, no stray bits');
  assert.deepEqual(data.subarray(-4), u32(crc32(data.subarray(0, -4))));
  return data.subarray(0, -4);
}

test('links, tickets and derivations are as sections 1 and 2 say', () => {
  const origin = 'https://second.example:8443';
  const server = cat(u8(1, origin.length), origin);
  assert.deepEqual(publicKey(b('publisher_seed')), b('publisher'));
  assert.deepEqual(text('link'), cat(u8(1), b('publisher'), b('secret'), server));
  assert.deepEqual(text('link_without_servers'), cat(u8(1), b('publisher'), b('secret')));
  const material = cat(b('publisher'), b('secret'));
  assert.deepEqual(derive('baton 2026-11 swarm key v1', material), b('swarm_seed'));
  assert.deepEqual(publicKey(b('swarm_seed')), b('swarm'));
  assert.deepEqual(derive('baton 2026-11 signalling key v1', material), b('signalling'));
  assert.deepEqual(derive('baton 2026-11 link slot key v1', material), b('link_slot'));
  assert.deepEqual(text('ticket'), cat(u8(0x81), b('publisher'), b('swarm_seed'), b('signalling'), server));
});

test('the head and its slot are as section 3 says', () => {
  const payload = b('slot_payload');
  const box = xchacha20poly1305(b('link_slot'), payload.subarray(0, 24), cat('baton slot v1', u8(1), u32(3)));
  assert.deepEqual(Buffer.from(box.decrypt(payload.subarray(24))), b('content_key'));
  const head = cat(
    'batonhd1', u64(7), Buffer.alloc(32, 0xaa), b('swarm'), u64(1_800_000_000), u64(1_795_000_000_123), u32(3), u8(0, 2, 1, 0),
    u16(0), u8(1, 0), u32(1), u16(1), u8(0, 0), u32(4000),
    u8(1, payload.length), u32(3), payload,
  );
  assert.deepEqual(signed(b('head')), head);
  assert.deepEqual(hash(b('head')), b('head_hash'));
});

function seal(index, plaintext) {
  const lane = cat(b('content_key'), u16(1));
  const key = derive('baton 2026-11 lane nonce key v1', lane);
  const nonce = hash(cat(plaintext, u16(1), u32(index)), { key }).subarray(0, 24);
  const sealed = xchacha20(derive('baton 2026-11 lane cipher key v1', lane), nonce, plaintext);
  return [nonce, Buffer.from(sealed)];
}

// BLAKE3's paper, sections 2.1 to 2.5.
const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const words = (bytes) => Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i));

function compress(cv, block, counter, length, flags) {
  const s = [...cv, ...IV.slice(0, 4), counter, 0, length, flags];
  let m = words(block);
  const rot = (x, n) => (x >>> n) | (x << (32 - n));
  const g = (a, b, c, d, x, y) => {
    for (const [word, r, t] of [[x, 16, 12], [y, 8, 7]]) {
      s[a] = (s[a] + s[b] + word) | 0;
      s[d] = rot(s[d] ^ s[a], r);
      s[c] = (s[c] + s[d]) | 0;
      s[b] = rot(s[b] ^ s[c], t);
    }
  };
  for (let round = 0; round < 7; round++) {
    for (let i = 0; i < 4; i++) g(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
    for (let i = 0; i < 4; i++) g(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4), m[8 + 2 * i], m[9 + 2 * i]);
    m = ORDER.map((i) => m[i]);
  }
  return Array.from({ length: 8 }, (_, i) => (s[i] ^ s[i + 8]) >>> 0);
}

const bytesOf = (cv) => cat(...cv.map((word) => u32(word)));

/** The chaining value of the subtree over data; flags 1 chunk start, 2 chunk end, 4 parent, 8 root. */
function node(data, firstChunk, root = 0) {
  if (data.length <= 1024) {
    let cv = IV;
    for (let at = 0; at < Math.max(data.length, 1); at += 64) {
      const block = data.subarray(at, at + 64);
      const flags = (at === 0 ? 1 : 0) | (at + 64 >= data.length ? 2 | root : 0);
      cv = compress(cv, cat(block, Buffer.alloc(64 - block.length)), firstChunk, block.length, flags);
    }
    return cv;
  }
  let left = 1024;
  while (left * 2 < data.length) left *= 2;
  const pair = [...node(data.subarray(0, left), firstChunk), ...node(data.subarray(left), firstChunk + left / 1024)];
  return compress(IV, bytesOf(pair), 0, 64, 4 | root);
}

test('pieces are sealed, hashed and signed as sections 4 and 5 say', () => {
  const cases = [['one_byte', 1], ['short', 100], ['one_block', 16384], ['two_blocks', 16385], ['three_blocks', 40000], ['full', 1 << 20]];
  cases.forEach(([name, length], index) => {
    const header = b(`header_${name}`);
    const [nonce, sealed] = seal(index, Buffer.from(Array.from({ length }, (_, i) => i % 251)));
    assert.deepEqual(bytesOf(node(sealed, 0, 8)), hash(sealed), 'our tree is BLAKE3');
    const core = cat('batonpc1', u16(2), u16(1), u32(index), u32(length), u32(3), u64(-1_500_000), b('swarm'), nonce, hash(sealed));
    assert.equal(core.length, 120);
    assert.deepEqual(signed(header.subarray(0, 184)), core, name);
    if (vectors.has(`sealed_${name}`)) assert.deepEqual(b(`sealed_${name}`), sealed);
    const blocks = Array.from({ length: Math.ceil(length / 16384) }, (_, i) => sealed.subarray(16384 * i, 16384 * (i + 1)));
    const hashes = blocks.length > 1 ? blocks.map((block, i) => bytesOf(node(block, 16 * i))) : [];
    assert.deepEqual(header.subarray(184), cat(...hashes), name);
  });
});

test('the manifest is as section 6 says', () => {
  const varint = (n) => (n < 128 ? u8(n) : cat(u8((n & 127) | 128), varint(n >> 7)));
  const string = (s) => cat(varint(s.length), s);
  const some = (x) => cat(u8(1), x);
  const ranges = cat(...[2, 0, 4096, 2_900_000, 100_000].map(varint));
  const entry = cat(
    string('holiday/film.mp4'), varint(3_000_000), some(string('video/mp4')), varint(1), varint(0), ranges,
    some(varint(30_000_000)), some(Buffer.from(Array.from({ length: 32 }, (_, i) => i + 1))),
  );
  const record = cat(varint(0), string('film.mp4'), varint(1), varint(entry.length), entry, u8(0));
  assert.deepEqual(b('manifest_piece'), cat('btnmani1', u32(1), u32(0), u32(record.length), record));
});

test('no vector was left unread', () => {
  assert.deepEqual([...vectors.keys()].filter((name) => !used.has(name)), []);
});
