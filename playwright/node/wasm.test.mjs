// Both WASM builds in Node: they start, offer the same face, and compute the same things.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const BUILDS = ['mvp', 'simd'];
const at = (build, name) => new URL(`../../web/src/wasm/${build}/${name}`, import.meta.url);

async function start(build) {
  const glue = await import(at(build, 'baton.js'));
  glue.initSync({ module: readFileSync(at(build, 'baton_bg.wasm')) });
  return glue;
}

for (const build of BUILDS) {
  test(`the ${build} build starts`, async () => {
    await start(build);
  });

  test(`the ${build} build checks itself`, async (t) => {
    const glue = await start(build);
    if (!glue.selfCheck) return t.skip('client-wasm exports no selfCheck');
    assert.equal(typeof glue.selfCheck(), 'string');
  });
}

test('both builds have one face', async () => {
  const [mvp, simd] = await Promise.all(BUILDS.map(start));
  const face = (glue) =>
    Object.entries(glue).map(([name, it]) => [name, Object.getOwnPropertyNames(it.prototype ?? {}).sort()]);
  assert.deepEqual(face(mvp), face(simd));
});

test('both builds compute the same', async (t) => {
  const [mvp, simd] = await Promise.all(BUILDS.map(start));
  if (!mvp.selfCheck) return t.skip('client-wasm exports no selfCheck');
  assert.equal(mvp.selfCheck(), simd.selfCheck());
});
