// Several files, or a folder, in one link: each is played or saved by itself, films play on, and all of it is a zip.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { saved } from '../lib/download.ts';
import { film, noise, sha256 } from '../lib/media.ts';
import { shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** A folder with two films, a file below, and what systems hide. */
async function folder(): Promise<string> {
  const root = join(mkdtempSync(join(tmpdir(), 'baton-')), 'Season 1');
  mkdirSync(join(root, 'extras'), { recursive: true });
  for (const episode of ['2', '10']) writeFileSync(join(root, `${episode}.mp4`), readFileSync(await film('silent.mp4')));
  writeFileSync(join(root, 'extras', 'notes.bin'), readFileSync(await noise('noise-1.bin', 1_500_000)));
  writeFileSync(join(root, '.hidden'), 'x');
  return root;
}

async function shareFolder(peer: Peer, path: string): Promise<string> {
  await peer.go();
  if (peer.name === 'chromium') await peer.page.getByTestId('folder-input').setInputFiles(path);
  else await chooseByHand(peer, path);
  await expect(peer.page.getByTestId('share-url')).toHaveValue(/#/);
  return peer.page.getByTestId('share-url').inputValue();
}

/** The driver of Firefox cannot choose a folder: its files go through another input, and get the paths that a folder would give them. */
async function chooseByHand(peer: Peer, path: string): Promise<void> {
  const paths = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  await peer.page.evaluate(() => {
    const input = document.createElement('input');
    Object.assign(input, { type: 'file', multiple: true, id: 'by-hand' });
    document.body.append(input);
  });
  await peer.page.locator('#by-hand').setInputFiles(paths);
  const inside = paths.map((file) => relative(dirname(path), file));
  await peer.page.evaluate((inside) => {
    const files = [...document.querySelector<HTMLInputElement>('#by-hand')!.files!];
    for (const [index, file] of files.entries()) Object.defineProperty(file, 'webkitRelativePath', { value: inside[index] });
    const input = document.querySelector<HTMLInputElement>('[data-testid=folder-input]')!;
    Object.defineProperty(input, 'files', { value: files });
    input.dispatchEvent(new Event('change', { bubbles: true }));
  }, inside);
}

/** Paths and bytes of a zip whose files are stored as they are, by its directory. */
function unzip(bytes: Buffer): Map<string, Buffer> {
  const last = bytes.length - 22;
  const found = new Map<string, Buffer>();
  let at = bytes.readUInt32LE(last + 16);
  for (let n = bytes.readUInt16LE(last + 10); n > 0; n--) {
    const name = bytes.toString('utf8', at + 46, at + 46 + bytes.readUInt16LE(at + 28));
    const local = bytes.readUInt32LE(at + 42);
    const begin = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    found.set(name, bytes.subarray(begin, begin + bytes.readUInt32LE(at + 24)));
    at += 46 + bytes.readUInt16LE(at + 28) + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return found;
}

test('a folder is one link: its films play one after the other, and each file is saved as it is', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await shareFolder(publisher, await folder());
  await expect(publisher.page.getByRole('heading', { name: 'Season 1' })).toBeVisible();
  // The second film is slow to come: the jump in the first is not one of its own.
  await publisher.setUpload('share', { bytesPerSecond: 400_000 });
  await viewer.open(link);
  const rows = viewer.page.getByTestId('file');
  await expect(rows).toHaveCount(3);
  await expect(rows.nth(0)).toContainText('2.mp4');
  await expect(rows.nth(1)).toContainText('10.mp4');
  await expect(rows.nth(2)).toContainText('extras/notes.bin');
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.file === 0);

  // To the end of the first, and on to the second.
  await viewer.page.evaluate(() => {
    const video = document.querySelector('video')!;
    video.currentTime = video.duration - 0.3;
    return video.play();
  });
  await viewer.until('view', (stats) => stats.file === 1);
  await expect(rows.nth(1).getByRole('button').first()).toHaveAttribute('aria-current', 'true');
  await shown(viewer.page, { before: 20 });
  await publisher.setUpload('share', { bytesPerSecond: null });

  // And back, by hand.
  await rows.nth(0).getByRole('button').first().click();
  await viewer.until('view', (stats) => stats.file === 0);
  await shown(viewer.page, { before: 20 });

  const one = await saved(viewer, () => rows.nth(2).getByTestId('file-download').click());
  expect(one.name).toBe('notes.bin');
  expect(sha256(one.bytes)).toBe(sha256(await noise('noise-1.bin', 1_500_000)));
});

test('all files of a folder are saved as one zip', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await shareFolder(publisher, await folder()));
  const { name, bytes } = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(name).toBe('Season 1.zip');
  const files = unzip(bytes);
  expect([...files.keys()]).toEqual(['Season 1/2.mp4', 'Season 1/10.mp4', 'Season 1/extras/notes.bin']);
  expect(sha256(files.get('Season 1/10.mp4')!)).toBe(sha256(await film('silent.mp4')));
  expect(sha256(files.get('Season 1/extras/notes.bin')!)).toBe(sha256(await noise('noise-1.bin', 1_500_000)));
});

test('several files are one link, and each is there by itself', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.go();
  const paths = [await noise('a.bin', 6 << 20), await noise('b.bin', 1_000_001), await noise('c.bin', 0)];
  await publisher.page.getByTestId('file-input').setInputFiles(paths);
  await expect(publisher.page.getByRole('heading', { name: 'a.bin and 2 more files' })).toBeVisible();
  const link = await publisher.page.getByTestId('share-url').inputValue();
  const viewer = await newPeer();
  await viewer.open(link);
  await expect(viewer.page.getByTestId('file')).toHaveCount(3);
  for (const [index, path] of paths.entries()) {
    const bytes = await viewer.page.evaluate(async (index) => {
      const { baton } = window as unknown as { baton: { view: { download(file: number): Promise<Blob> } } };
      const hash = await crypto.subtle.digest('SHA-256', await (await baton.view.download(index)).arrayBuffer());
      return [...new Uint8Array(hash)];
    }, index);
    expect(Buffer.from(bytes).toString('hex')).toBe(sha256(path));
  }
  const stats = await viewer.until('view', (stats) => stats.complete);
  expect(stats.problem).toBe(null);
});

test('a folder that is dropped is walked through to its last file', async ({ newPeer, browserName }) => {
  test.skip(browserName === 'firefox', 'its driver drops nothing');
  const root = join(mkdtempSync(join(tmpdir(), 'baton-')), 'Dropped');
  mkdirSync(join(root, 'inside'), { recursive: true });
  // A reader of a folder tells a hundred at a time.
  for (let n = 0; n < 130; n++) writeFileSync(join(root, 'inside', `${n}.bin`), `${n}`);
  writeFileSync(join(root, '.hidden'), 'x');
  writeFileSync(join(root, 'first.txt'), 'first');
  const publisher = await newPeer();
  await publisher.go();
  await expect(publisher.page.getByTestId('drop-zone')).toBeVisible();
  const session = await publisher.context.newCDPSession(publisher.page);
  const data = { items: [], files: [root], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) await session.send('Input.dispatchDragEvent', { type, x: 500, y: 400, data });
  await expect(publisher.page.getByRole('heading', { name: 'Dropped' })).toBeVisible();
  await expect(publisher.page.getByTestId('status')).toContainText('131 files');
  const viewer = await newPeer();
  await viewer.open(await publisher.page.getByTestId('share-url').inputValue());
  await expect(viewer.page.getByTestId('file')).toHaveCount(131);
  await expect(viewer.page.getByTestId('file').first()).toContainText('first.txt');
  await expect(viewer.page.getByTestId('file').last()).toContainText('inside/129.bin');
});
