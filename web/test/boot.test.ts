import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('the module that asks for SIMD is one: an engine with SIMD and reference types takes it', () => {
  const source = readFileSync(fileURLToPath(new URL('../src/boot.ts', import.meta.url)), 'utf8');
  const listed = /NEEDS_SIMD = new Uint8Array\(\[([\s\S]*?)\]\)/.exec(source)![1]!.replace(/\/\/.*$/gm, '');
  const module = new Uint8Array(listed.split(',').filter((it) => it.trim() !== '').map(Number));
  expect(WebAssembly.validate(module)).toBe(true);
});
