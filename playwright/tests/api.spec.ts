// What embedders rely on: the player in a frame, the module, its numbers and its types.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { BUNNY, film, sha256 } from '../lib/media.ts';
import { awake, endless, plays, shown, state } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

test('a page of another site plays a link in a frame', async ({ newPeer, newSite }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('moov-end.mp4'));
  const site = await newSite();
  site.serve(`<h1>My blog</h1><iframe src="${link.replace('/#', '/embed#')}" width="640" height="360" allow="autoplay; fullscreen"></iframe>`);

  const reader = await newPeer({ base: site.origin });
  await reader.go();
  await expect.poll(() => reader.page.frames().length).toBe(2);
  const frame = reader.page.frames()[1]!;
  await shown(frame);
  await plays(frame);
  const inside = reader.page.frameLocator('iframe');
  await expect(inside.getByTestId('seek')).toBeAttached();
  await expect(inside.getByRole('heading')).toHaveCount(0);
  await endless(frame);
  await awake(frame);
  await inside.getByTestId('play').click();
  await expect.poll(async () => (await state(frame)).paused).toBe(true);
});

test('the pages themselves cannot be framed', async ({ newPeer, newSite, server }) => {
  const answer = await fetch(server.url);
  expect(answer.headers.get('x-frame-options')).toBe('DENY');
  expect(answer.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  expect(answer.headers.get('content-security-policy')).not.toContain("'unsafe-inline'");
  // And in the browser: the frame stays empty, which both browsers say on the console.
  const site = await newSite();
  site.serve(`<iframe src="${server.url}/"></iframe>`);
  const reader = (await newPeer({ base: site.origin })).allow(/frame-ancestors|X-Frame-Options|refused to connect/i);
  await reader.go();
  await expect(reader.page.frameLocator('iframe').getByTestId('drop-zone')).toHaveCount(0);
});

/** Runs in a page: shares bytes, opens the link with a second client, fetches all of it and compares. */
async function roundTrip(origin: string): Promise<Record<string, unknown>> {
  const { Client } = (await import(`${origin}/client.js`)) as { Client: typeof import('../../web/src/api.ts').Client };
  const [giver, taker] = [await Client.start(), await Client.start({ server: origin, storage: 'memory' })];
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const file = new File([bytes, bytes, bytes], 'round trip.bin', { type: 'application/x-round' });
  const share = giver.share([file], { title: 'A title' });
  const view = taker.open(share.url);
  let changes = 0;
  view.onchange = () => changes++;
  const meta = await view.meta;
  await view.fetchAll();
  const blob = await view.download();
  const same = (await blob.arrayBuffer()).byteLength === file.size && (await blob.text()) === (await file.text());
  const result = { url: share.url, meta: JSON.parse(JSON.stringify(meta)), same, type: blob.type, changes, view: view.stats(), share: share.stats() };
  view.close();
  share.stop();
  giver.close();
  taker.close();
  return result;
}

/** DESIGN of the API: every field there is, and its type. */
const STATS = {
  complete: 'boolean', bytes_verified: 'number', startup_ms: 'number?', stalls: 'number', bytes_received: 'number', bytes_sent: 'number',
  bytes_confirmed: 'number', confirmed_by: 'number',
  verified_blocks: 'number', rejected_blocks: 'number', path_counts: 'object', peers: 'object', phase: 'string', problem: 'object?', have: 'number',
  size: 'number', others: 'number', complete_peers: 'number', from_viewers: 'number', down_bps: 'number', up_bps: 'number', paused: 'boolean', blake3: 'string?',
}; // prettier-ignore
const PEER = {
  id: 'string', role: 'string', rtt_ms: 'number?', down_bps: 'number', up_bps: 'number', received: 'number', sent: 'number', path: 'string', region: 'string?',
  complete: 'number',
}; // prettier-ignore

function expectShape(value: Record<string, unknown>, shape: Record<string, string>): void {
  for (const [key, type] of Object.entries(shape)) {
    expect(Object.keys(value), `has ${key}`).toContain(key);
    if (!(type.endsWith('?') && value[key] === null)) expect(typeof value[key], key).toBe(type.replace('?', ''));
  }
}

function expectRoundTrip(result: Record<string, unknown>, origin: string): void {
  expect(result).toMatchObject({ same: true, type: 'application/x-round' });
  expect(result.url).toMatch(new RegExp(`^${origin}/#[\\w-]{70,}$`));
  expect(result.meta).toMatchObject({ title: 'A title', name: 'round trip.bin', size: 180_000, mime: 'application/x-round', playable: false, duration_s: null });
  expect(result.changes).toBeGreaterThan(0);
  const view = result.view as Record<string, unknown>;
  expectShape(view, { ...STATS, have_ranges: 'object' });
  expect(view.have_ranges).toEqual([[0, 1]]);
  expectShape(result.share as Record<string, unknown>, { ...STATS, hash_progress: 'number?' });
  expectShape((view.peers as Record<string, unknown>[])[0]!, PEER);
  expect(view).toMatchObject({ complete: true, have: 1, phase: 'complete', problem: null, rejected_blocks: 0, path_counts: { direct: 1, relay: 0 } });
  expect(view.bytes_verified).toBeGreaterThanOrEqual(180_000);
}

test('the module shares, opens, fetches all and tells its numbers', async ({ newPeer, server }) => {
  const page = await newPeer();
  await page.go('/embed');
  expectRoundTrip(await page.page.evaluate(roundTrip, server.url), server.url);
});

test('a site that the operator lists may import the module', async ({ newPeer, newServer, newSite }) => {
  const site = await newSite();
  site.serve('<p>A site of somebody else</p>');
  const server = await newServer(['--allow-origin', site.origin]);
  const page = await newPeer({ base: site.origin });
  await page.go();
  expectRoundTrip(await page.page.evaluate(roundTrip, server.url), server.url);
});

test('a site that the operator does not list may not', async ({ newPeer, newServer, newSite }) => {
  const site = await newSite();
  site.serve('<p>A site of somebody else</p>');
  const server = await newServer();
  const page = (await newPeer({ base: site.origin })).allow(/CORS|Cross-Origin|net::ERR_FAILED/i);
  await page.go();
  const outcome = await page.page.evaluate((url) => import(`${url}/client.js`).then(() => 'imported', () => 'refused'), server.url);
  expect(outcome).toBe('refused');
});

test('a title of the sharer’s own is what viewers see', async ({ newPeer }) => {
  const page = await newPeer();
  await page.go('/embed');
  const names = await page.page.evaluate(async () => {
    const { Client } = (await import('/client.js' as string)) as { Client: typeof import('../../web/src/api.ts').Client };
    const client = await Client.start();
    const share = client.share(new File(['x'], 'x.bin'), { title: 'Our wedding' });
    const { title, name } = await client.open(share.url).meta;
    client.close();
    return { title, name };
  });
  expect(names).toEqual({ title: 'Our wedding', name: 'x.bin' });
});

test('what a view still promises is refused when it is closed', async ({ newPeer }) => {
  const page = await newPeer();
  await page.go('/embed');
  const outcomes = await page.page.evaluate(async () => {
    const { Client } = (await import('/client.js' as string)) as { Client: typeof import('../../web/src/api.ts').Client };
    const client = await Client.start();
    const share = client.share(new File(['x'], 'x.bin'));
    share.stop();
    const view = client.open(share.url);
    const promises = [view.meta, view.fetchAll(), view.download()];
    view.close();
    return Promise.all(promises.map((promise) => promise.then(() => 'kept', () => 'refused')));
  });
  expect(outcomes).toEqual(['refused', 'refused', 'refused']);
});

test('a pause keeps the rate that was set', async ({ newPeer }) => {
  const slow = await newPeer();
  const free = await newPeer();
  const [early, late] = [await newPeer(), await newPeer()];
  const links = [await slow.share(await film('colours.mp4')), await free.share(await film('colours.mp4'))] as const;
  await slow.setUpload('share', { bytesPerSecond: 20_000 });
  await slow.setUpload('share', { paused: true });
  await slow.setUpload('share', { paused: false });
  await early.open(links[0]);
  await early.until('view', (stats) => stats.bytes_verified > 0);
  // Whoever begins later at a publisher without a rate has all 11 MB before whoever gets 20 kB in a second.
  await late.open(links[1]);
  await late.until('view', (stats) => stats.complete);
  expect((await early.stats('view'))!.have).toBeLessThan(0.9);
});

test('the page’s own client is there for the console', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(BUNNY);
  const kinds = await publisher.page.evaluate(() => {
    const { baton } = window as unknown as { baton: Record<string, unknown> };
    return Object.entries(baton).map(([name, value]) => `${name} ${value === null ? 'null' : typeof value}`);
  });
  expect(kinds.sort()).toEqual(['client object', 'share object', 'view null']);
});

test('the types that are served fit what an embedder writes', async ({ server }, info) => {
  const types = await (await fetch(`${server.url}/client.d.ts`)).text();
  const folder = join(info.outputDir, 'embedder');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'client.d.ts'), types);
  writeFileSync(
    join(folder, 'embedder.ts'),
    `import { Client, type View, type ViewStats } from './client.js';
     export async function watch(link: string, video: HTMLVideoElement, files: FileList): Promise<Blob> {
       const client = await Client.start({ server: 'https://baton.example', storage: 'memory' });
       const share = client.share(files, {});
       const url: string = share.url;
       const view: View = client.open(link, {});
       view.attach(video);
       await view.fetchAll();
       const stats: ViewStats = view.stats();
       const told: [boolean, number, number | null, number, number, number, number, number] = [
         stats.complete, stats.bytes_verified, stats.startup_ms, stats.stalls, stats.bytes_received, stats.bytes_sent, stats.verified_blocks, stats.rejected_blocks];
       const paths: { direct: number; relay: number } = stats.path_counts;
       for (const peer of stats.peers) {
         const one: [string, string, number | null, number, number, number, number, string, string | null] = [
           peer.id, peer.role, peer.rtt_ms, peer.down_bps, peer.up_bps, peer.received, peer.sent, peer.path, peer.region];
         void one;
       }
       void [url, told, paths, (await view.meta).title];
       share.stop();
       view.close();
       return view.download();
     }
     // @ts-expect-error a client is started, not constructed
     export const wrong = () => new Client();
    `,
  );
  expect(existsSync(join(folder, 'client.d.ts'))).toBe(true);
  const program = ts.createProgram([join(folder, 'embedder.ts')], {
    strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: [],
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  }); // prettier-ignore
  const complaints = ts.getPreEmitDiagnostics(program).map((it) => ts.flattenDiagnosticMessageText(it.messageText, '\n'));
  expect(complaints).toEqual([]);
  expect(sha256(Buffer.from(types))).toHaveLength(64);
});
