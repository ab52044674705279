// What the media engine does not read, and the browser does: it gets the file as it is, from verified pieces, by a service worker.
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { saved } from '../lib/download.ts';
import { BUNNY, film, ownFile, secondOf, sha256, song } from '../lib/media.ts';
import { colour, plays, seek, shown, state } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

const source = (peer: Peer): Promise<string> => peer.page.getByTestId('video').evaluate((video) => (video as HTMLVideoElement).src);
/** It runs on, from there or later. */
async function sounds(peer: Peer, from_s = 0): Promise<void> {
  const look = async (): Promise<string> => {
    const now = await state(peer.page);
    const said = await peer.page.getByTestId('error').allTextContents();
    return now.currentTime > from_s ? 'plays' : JSON.stringify({ ...now, said });
  };
  await expect.poll(look, { timeout: 60_000 }).toBe('plays');
}

/** A page on which the worker has no part: one of a private window. */
function withoutServiceWorker(): void {
  Object.defineProperty(Navigator.prototype, 'serviceWorker', { get: () => undefined });
}

/** An iPhone before iOS 17.1: it plays files, and has no MediaSource. */
function withoutMediaSource(): void {
  Object.assign(window, { MediaSource: undefined, ManagedMediaSource: undefined });
}

test('MP3 in a WAV, which the engine does not read, plays as it is, and so does its next visit', async ({ newPeer }) => {
  const path = await song('minute.wav', 60, ['-c:a', 'libmp3lame', '-b:a', '320k']);
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(path));
  await sounds(viewer);
  expect(await source(viewer)).toContain('/raw/');
  expect((await state(viewer.page)).duration).toBeGreaterThan(58);
  await expect(viewer.page.getByTestId('error')).toHaveCount(0);
  const { phase, file } = (await viewer.stats('view'))!;
  expect(phase).toMatch(/playing|complete/);
  expect(file).toBe(0);
  await seek(viewer.page, 50);
  await sounds(viewer, 50.3);
  await viewer.page.reload();
  await sounds(viewer);
  expect(await source(viewer)).toContain('/raw/');
});

test('what neither reads is refused in the end, and can be downloaded', async ({ newPeer }) => {
  const path = ownFile('holiday.avi', readFileSync(await film('foreign.avi')));
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(path));
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'unsupported-media');
  await expect(error).toContainText('This browser cannot play this film.');
  await expect(error).toContainText('unknown container');
  expect(await source(viewer)).toBe('');
  const { bytes } = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(sha256(bytes)).toBe(sha256(path));
});

test('without a service worker it is offered as a download at once', async ({ newPeer }) => {
  const path = await song('short.wav', 5, ['-c:a', 'libmp3lame']);
  const publisher = await newPeer();
  const viewer = await newPeer({ init: withoutServiceWorker });
  await viewer.open(await publisher.share(path));
  await expect(viewer.page.getByTestId('error')).toHaveAttribute('data-code', 'unsupported-media');
  await expect(viewer.page.getByTestId('download')).toBeVisible();
});

test('a browser without MediaSource plays the file as it is, and jumps before all of it is here', async ({ newPeer }) => {
  const path = await film('colours.mp4');
  const publisher = await newPeer();
  const viewer = await newPeer({ init: withoutMediaSource });
  const link = await publisher.share(path);
  // 11 MB, of which the jump needs two.
  await publisher.setUpload('share', { bytesPerSecond: 200_000 });
  await viewer.open(link);
  await shown(viewer.page);
  await viewer.page.evaluate(() => document.querySelector('video')!.pause());
  await seek(viewer.page, 25.2);
  await expect.poll(async () => secondOf(await colour(viewer.page)), { timeout: 60_000 }).toBe(25);
  expect((await viewer.stats('view'))!.complete).toBe(false);
  await publisher.setUpload('share', { bytesPerSecond: null });
  await viewer.page.evaluate(() => document.querySelector('video')!.play());
  await plays(viewer.page);
  await expect(viewer.page.getByTestId('error')).toHaveCount(0);
});

test('the next file of the link is the engine’s again, and the one after that the browser’s', async ({ newPeer }) => {
  // Longer than any machine looks at it: when it is over, the next one begins by itself.
  const wav = readFileSync(await song('minute.wav', 60, ['-c:a', 'libmp3lame', '-b:a', '320k']));
  const publisher = await newPeer();
  const viewer = await newPeer();
  await publisher.go();
  const files = [
    { name: '1.wav', mimeType: 'audio/wav', buffer: wav },
    { name: '2.mp4', mimeType: 'video/mp4', buffer: readFileSync(BUNNY) },
  ];
  await publisher.page.getByTestId('file-input').setInputFiles(files);
  const link = publisher.page.getByTestId('share-url');
  await expect(link).toHaveValue(/#/);
  await viewer.open(await link.inputValue());
  await sounds(viewer);
  expect(await source(viewer)).toContain('/raw/');
  const rows = viewer.page.getByTestId('file');
  await rows.nth(1).getByRole('button').first().click();
  await shown(viewer.page);
  expect(await source(viewer)).toContain('blob:');
  await rows.nth(0).getByRole('button').first().click();
  await expect.poll(() => source(viewer)).toContain('/raw/');
  await sounds(viewer);
});

test('the address of a file that plays gives nothing to a script, a frame or another page', async ({ newPeer }) => {
  const path = await song('short.wav', 5, ['-c:a', 'libmp3lame']);
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(path));
  await sounds(viewer);
  const address = await source(viewer);
  viewer.allow(/frame-ancestors/);
  const here = await viewer.page.evaluate(async (address) => {
    const frame = document.createElement('iframe');
    const loaded = new Promise((done) => (frame.onload = frame.onerror = done));
    frame.src = address;
    document.body.append(frame);
    await loaded;
    const fetched = (await (await fetch(address)).text()).slice(0, 15);
    return { controlled: navigator.serviceWorker.controller !== null, fetched };
  }, address);
  // The server's own page is there.
  expect(here).toEqual({ controlled: true, fetched: '<!doctype html>' });
  const other = await viewer.context.newPage();
  await other.goto('/');
  // Nobody there answers for it.
  viewer.allow(/status of 404/);
  const there = await other.evaluate(async (address) => {
    const video = document.createElement('video');
    video.src = address;
    return new Promise((done) => (video.onerror = () => done(video.error!.code)));
  }, address);
  expect(there).toBe(4);
});

/** Notes in the page that it asked for the lock alone. */
function marksSweep(): void {
  if (typeof LockManager === 'undefined') return;
  const request = LockManager.prototype.request as (...args: unknown[]) => Promise<unknown>;
  LockManager.prototype.request = async function (this: LockManager, ...args: unknown[]): Promise<unknown> {
    const answer = await request.apply(this, args);
    if (args[0] === 'baton raw' && (args[1] as LockOptions).ifAvailable) Object.assign(window, { swept: true });
    return answer;
  } as LockManager['request'];
}

/** The workers that this browser keeps for pages of this server. */
const kept = (page: Page): Promise<number> => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length);

test('the worker stays while a page plays by it, and the next page that needs none strikes it off', async ({ newPeer }) => {
  const path = await song('minute.wav', 60, ['-c:a', 'libmp3lame', '-b:a', '320k']);
  const publisher = await newPeer();
  const viewer = await newPeer({ init: marksSweep });
  await viewer.open(await publisher.share(path));
  await sounds(viewer);
  // Another page under it, which looks for whoever needs it: that lock it cannot have.
  const other = await viewer.context.newPage();
  await other.goto('/');
  await expect.poll(() => other.evaluate(() => (window as { swept?: boolean }).swept)).toBe(true);
  await seek(viewer.page, 50);
  await sounds(viewer, 50.3);
  expect(await kept(other)).toBe(1);
  await viewer.page.close();
  // A page that is gone lets go of its lock when the browser comes to it.
  const held = (): Promise<unknown[]> => other.evaluate(async () => (await navigator.locks.query()).held!.filter(({ name }) => name === 'baton raw'));
  await expect.poll(held, { timeout: 60_000 }).toEqual([]);
  await other.reload();
  await expect.poll(() => kept(other), { timeout: 60_000 }).toBe(0);
});

test('a worker that the browser has stopped is started again', async ({ newPeer, browserName }) => {
  // Firefox has no word for it.
  if (browserName === 'firefox') return;
  const path = await song('minute.wav', 60, ['-c:a', 'libmp3lame', '-b:a', '320k']);
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(path);
  await publisher.setUpload('share', { bytesPerSecond: 200_000 });
  await viewer.open(link);
  await sounds(viewer);
  const devtools = await viewer.context.newCDPSession(viewer.page);
  await devtools.send('ServiceWorker.enable');
  for (const place of [50, 20, 40]) {
    await devtools.send('ServiceWorker.stopAllWorkers');
    await seek(viewer.page, place);
    await sounds(viewer, place + 0.3);
  }
});
