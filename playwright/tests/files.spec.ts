// Whatever is no film is shared and downloaded, byte for byte.
import { readFileSync } from 'node:fs';
import { saved } from '../lib/download.ts';
import { BUNNY, b3sum, noise, ownFile, sha256 } from '../lib/media.ts';
import { expect, test } from '../lib/test.ts';

const PDF = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n');
const EXACT = 2 << 20;

// An empty file, one block exactly, two pieces exactly, and one byte more: where counting goes wrong.
const FILES: [what: string, path: () => Promise<string>][] = [
  ['a zip of 3 MB and a bit', () => noise('holiday pictures.zip', 3_000_001)],
  ['two pieces exactly', () => noise('exact.bin', EXACT)],
  ['two pieces and a byte', () => noise('exact-and-one.bin', EXACT + 1)],
  ['a PDF', async () => ownFile('report.pdf', PDF)],
  ['one byte', async () => ownFile('one', Buffer.from('x'))],
  ['a name with blanks, quotes and other alphabets', async () => ownFile("Ünïcode “quoted” & Liebesgrüße – 映画's (1).tar.gz", PDF)],
];

for (const [what, path] of FILES) {
  test(`${what} is saved byte for byte`, async ({ newPeer }) => {
    const file = await path();
    const name = file.split('/').at(-1)!;
    const publisher = await newPeer();
    const viewer = await newPeer();
    await viewer.open(await publisher.share(file));
    await expect(viewer.page.getByRole('heading', { name })).toBeVisible();
    await expect(viewer.page).toHaveTitle(name);
    await expect(viewer.page.getByTestId('blake3')).toHaveText(b3sum(file));

    const { name: savedName, bytes } = await saved(viewer, () => viewer.page.getByTestId('download').click());
    expect(sha256(bytes)).toBe(sha256(file));
    expect(savedName).toBe(name);
    await expect(viewer.page.getByTestId('download')).toHaveText('Saved');
  });
}

test('an empty file has a link too, and arrives as an empty file', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(ownFile('nothing.txt', Buffer.alloc(0))));
  await viewer.until('view', (stats) => stats.complete);
  await expect(viewer.page.getByRole('heading', { name: 'nothing.txt' })).toBeVisible();
  const blob = await viewer.page.evaluate(async () => {
    const { baton } = window as unknown as { baton: { view: { download(): Promise<Blob> } } };
    const blob = await baton.view.download();
    return [blob.size, blob.type];
  });
  expect(blob).toEqual([0, 'text/plain']);
});

test('a film can be downloaded as well, byte for byte', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  const { name, bytes } = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(name).toBe('big-buck-bunny-480p-30s.mp4');
  expect(sha256(bytes)).toBe(sha256(BUNNY));
});

test('a download that is asked for before the first block is here comes when all is here', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const file = await noise('holiday pictures.zip', 3_000_001);
  await viewer.open(await publisher.share(file));
  const bytes = await viewer.page.evaluate(async () => {
    const { baton } = window as unknown as { baton: { view: { download(): Promise<Blob> } | null } };
    while (!baton?.view) await new Promise((resolve) => requestAnimationFrame(resolve));
    const blob = await baton.view.download();
    return [...new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()))];
  });
  expect(Buffer.from(bytes).toString('hex')).toBe(sha256(readFileSync(file)));
});
