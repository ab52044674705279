// Browsers that lack something: each is told what it can do here, and what it cannot.
import { saved } from '../lib/download.ts';
import { BUNNY, film, noise, sha256 } from '../lib/media.ts';
import { plays, shown, state } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

function withoutWebRtc(): void {
  delete (window as { RTCPeerConnection?: unknown }).RTCPeerConnection;
}

function withoutMediaSource(): void {
  delete (window as { MediaSource?: unknown }).MediaSource;
  delete (window as { ManagedMediaSource?: unknown }).ManagedMediaSource;
}

function withoutServiceWorker(): void {
  Object.defineProperty(Navigator.prototype, 'serviceWorker', { get: () => undefined });
}

/** As on an iPhone, where there is no other. */
function onlyManagedMediaSource(): void {
  const all = window as { MediaSource?: unknown; ManagedMediaSource?: unknown };
  all.ManagedMediaSource = all.MediaSource;
  delete all.MediaSource;
}

test('a browser without WebRTC is told to try another, on both pages', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  for (const page of [link, '/']) {
    const old = await newPeer({ init: withoutWebRtc });
    await old.go(page);
    const error = old.page.getByTestId('error');
    await expect(error).toHaveAttribute('data-code', 'unsupported-browser');
    await expect(error).toContainText('This browser cannot run Baton.');
    await expect(error).toContainText('Open the same link in a current Chrome, Edge or Firefox.');
    await expect(old.page.locator('.loading')).toHaveCount(0);
  }
});

test('a browser without MediaSource and service workers says that it cannot play, and downloads films and files alike', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer({ init: [withoutMediaSource, withoutServiceWorker] });
  await viewer.open(await publisher.share(BUNNY));
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'unsupported-media');
  await expect(error).toContainText('This browser cannot play this film.');
  const asFilm = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(sha256(asFilm.bytes)).toBe(sha256(BUNNY));

  const zip = await noise('holiday pictures.zip', 3_000_001);
  await viewer.open(await publisher.share(zip));
  await expect(viewer.page.getByRole('heading', { name: 'holiday pictures.zip' })).toBeVisible();
  await expect(error).toHaveCount(0);
  const asFile = await saved(viewer, () => viewer.page.getByTestId('download').click());
  expect(sha256(asFile.bytes)).toBe(sha256(zip));
});

test('a browser whose only MediaSource is the managed one plays', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer({ init: onlyManagedMediaSource });
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await plays(viewer.page);
  expect((await state(viewer.page)).sound).toBeGreaterThan(0);
  await expect(viewer.page.getByTestId('error')).toHaveCount(0);
});

test('a film whose sound this browser does not know plays, and says so', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(await film('foreign-sound.mp4')));
  await shown(viewer.page);
  await plays(viewer.page);
  const note = viewer.page.getByTestId('error');
  await expect(note).toHaveAttribute('data-code', 'no-sound');
  await expect(note).toContainText('This browser cannot play the sound of this film.');
  await expect(note).toContainText(/DTS/);
});
