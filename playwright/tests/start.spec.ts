// How a film starts where things are not as usual: autoplay rules, the older WASM, no secure context, hidden addresses.
import { BUNNY, film } from '../lib/media.ts';
import { plays, shown, state } from '../lib/player.ts';
import { channelsStay } from '../lib/peer.ts';
import { expect, test, type Peer } from '../lib/test.ts';

test('without a gesture the film starts muted, and one click brings the sound', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  // Playwright's own looks into a page count as gestures: until the film plays, nothing but this script looks.
  const viewer = await newPeer({
    launch: { autoplay: 'default' },
    init: () =>
      document.addEventListener(
        'playing',
        (event) => {
          const video = event.target as HTMLVideoElement;
          setTimeout(() => console.log(`playing, muted: ${video.muted}, paused: ${video.paused}`));
        },
        true,
      ),
  });
  const [message] = await Promise.all([
    viewer.page.waitForEvent('console', (message) => message.text().startsWith('playing')),
    viewer.open(link),
  ]);
  expect(message.text()).toBe('playing, muted: true, paused: false');

  await viewer.page.getByTestId('unmute').click();
  await expect.poll(() => state(viewer.page)).toMatchObject({ muted: false, paused: false });
  await plays(viewer.page, 1);
  await expect(viewer.page.getByTestId('unmute')).toHaveCount(0);
});

test('whoever pauses before the film has begun to run finds it paused', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  // Slow enough that the film is told to play long before it can. What pauses it comes right after that: `play` tells of it.
  await publisher.setUpload('share', { bytesPerSecond: 300_000 });
  const viewer = await newPeer({
    init: () => document.addEventListener('play', (event) => (event.target as HTMLVideoElement).pause(), { capture: true, once: true }),
  });
  await viewer.open(link);
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.have > 0.2);
  expect(await state(viewer.page)).toMatchObject({ paused: true });
  expect((await state(viewer.page)).currentTime).toBeLessThan(1);
  await viewer.page.getByTestId('play').press('Enter');
  await plays(viewer.page, 1);
});

/** Remembers which workers the page starts; what is only loaded ahead does not count. */
function keepWorkers(): void {
  const started: string[] = [];
  (window as unknown as { started: string[] }).started = started;
  const Real = Worker;
  window.Worker = class extends Real {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      started.push(String(url));
    }
  };
}

test('the build for old engines shares and plays', async ({ newPeer }) => {
  const publisher = await newPeer({ init: [keepWorkers, channelsStay] });
  const viewer = await newPeer({ init: [keepWorkers, channelsStay] });
  const engine = ({ page }: Peer) => page.evaluate(() => (window as unknown as { started: string[] }).started.join(' '));
  const link = await publisher.share(await film('moov-end.mp4'), '/?wasm=mvp');
  await viewer.open(link, '?wasm=mvp');
  await shown(viewer.page);
  await plays(viewer.page);
  await viewer.until('view', (stats) => stats.complete);
  for (const peer of [publisher, viewer]) expect(await engine(peer)).toMatch(/^\S*worker-mvp\S*$/);

  // A third, with the usual build, reads what those two wrote.
  const modern = await newPeer({ init: keepWorkers });
  await modern.open(link);
  await shown(modern.page);
  expect(await engine(modern)).toMatch(/^\S*worker-simd\S*$/);
});

test('it works on a plain http address of the house', async ({ newPeer, server }) => {
  const there = { base: `http://lan.test:${server.port}`, launch: { hosts: ['lan.test'] } };
  const publisher = await newPeer(there);
  const viewer = await newPeer(there);
  const link = await publisher.share(BUNNY);
  expect(link.startsWith(`${there.base}/#`)).toBe(true);
  expect(await publisher.page.evaluate(() => isSecureContext)).toBe(false);
  // No clipboard here: copying falls back to selection.
  await publisher.page.getByTestId('copy-link').click();
  await expect(publisher.page.getByTestId('copy-link')).toHaveText(/Copied|Ctrl\+C/);
  await expect(publisher.page.getByText('it works on this computer only')).toHaveCount(0);

  await viewer.open(link);
  expect(await viewer.page.evaluate(() => isSecureContext)).toBe(false);
  await shown(viewer.page);
  await plays(viewer.page);
  await viewer.until('view', (stats) => stats.complete);
});

test('a Firefox that hides its addresses connects all the same', async ({ newPeer }) => {
  const publisher = await newPeer();
  const hidden = await newPeer({ browser: 'firefox', launch: { mdns: 'on' } });
  const link = await publisher.share(BUNNY);
  await hidden.open(link);
  await shown(hidden.page);
  const { path_counts } = await hidden.until('view', (stats) => stats.complete);
  expect(path_counts).toEqual({ direct: 1, relay: 0 });
});
