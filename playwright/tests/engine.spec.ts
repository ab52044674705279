// The engine itself: when it breaks down, when nobody refers to it, when there is nothing left to do.
import { film, noise, sha256, sparse, BUNNY } from '../lib/media.ts';
import { plays, shown } from '../lib/player.ts';
import { expect, NETWORK_MESSAGES, test, type Peer } from '../lib/test.ts';

type Module = { Client: typeof import('../../web/src/api.ts').Client };

/** Keeps the page's workers where a test can reach them. */
function keepWorkers(): void {
  const workers: Worker[] = [];
  (window as unknown as { workers: Worker[] }).workers = workers;
  const Real = Worker;
  window.Worker = class extends Real {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      workers.push(this);
    }
  };
}

/** A message that no page sends: the engine panics, as it would over a mistake of ours or for want of memory. */
async function breakDown(peer: Peer): Promise<void> {
  peer.allow(/unreachable|RuntimeError|panicked/i);
  await peer.page.evaluate(() => (window as unknown as { workers: Worker[] }).workers[0]!.postMessage([99]));
}

test('an engine that breaks down says so on both pages, and one click starts it again', async ({ newPeer }) => {
  const publisher = await newPeer({ init: keepWorkers });
  const viewer = await newPeer({ init: keepWorkers });
  const link = await publisher.share(BUNNY);
  await viewer.open(link);
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.complete);

  await breakDown(viewer);
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'engine-stopped');
  await expect(error).toContainText('Baton has stopped working on this page.');
  // Its people hear at once that it is gone.
  await publisher.until('share', (stats) => stats.peers.length === 0);
  const loaded = viewer.page.waitForEvent('load');
  await error.getByRole('button', { name: 'Reload' }).click();
  await loaded;
  await shown(viewer.page);
  await plays(viewer.page);

  await breakDown(publisher);
  await expect(publisher.page.getByTestId('error')).toHaveAttribute('data-code', 'engine-stopped');
  await expect(publisher.page.getByTestId('share-url')).toHaveCount(0);
  await expect(publisher.page.getByRole('button', { name: 'Reload' })).toBeVisible();
});

test('an engine that breaks down keeps nobody waiting', async ({ newPeer }) => {
  // It breaks down while its sockets are still opening.
  const page = (await newPeer({ init: keepWorkers })).allow(/unreachable|RuntimeError|panicked/i, ...NETWORK_MESSAGES);
  await page.go('/embed');
  const outcomes = await page.page.evaluate(async () => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const client = await Client.start();
    const share = client.share(new File(['x'], 'x.bin'));
    share.stop();
    const view = client.open(share.url);
    const promises = [view.meta, view.fetchAll(), view.download()];
    for (const worker of (window as unknown as { workers: Worker[] }).workers) worker.postMessage([99]);
    const before = await Promise.all(promises.map((promise) => promise.then(() => 'kept', (error: Error) => error.message)));
    const after = client.open(share.url);
    return [...before, await after.meta.then(() => 'kept', (error: Error) => error.message), after.stats().problem?.code];
  });
  expect(outcomes).toEqual(Array(5).fill('engine-stopped'));
});

test('a view goes on when nobody refers to its client any more', async ({ newPeer, browserName }) => {
  // Firefox has no switch that lets a page collect its garbage.
  test.skip(browserName === 'firefox');
  const publisher = await newPeer();
  const file = await noise('holiday pictures.zip', 3_000_001);
  const link = await publisher.share(file);
  const viewer = await newPeer({ launch: { args: ['--js-flags=--expose-gc'] } });
  await viewer.go('/embed');
  const bytes = await viewer.page.evaluate(async (link) => {
    const { gc } = window as unknown as { gc: (how: object) => Promise<void> };
    // In a function of its own, so that nothing on the stack refers to the client.
    const open = async () => {
      const { Client } = (await import('/client.js' as string)) as Module;
      return (await Client.start()).open(link);
    };
    const view = await open();
    // Once this has been collected, the client has been too.
    let gone = false;
    const witness = new FinalizationRegistry(() => (gone = true));
    witness.register({}, 0);
    Object.assign(window, { witness });
    while (!gone) await gc({ type: 'major', execution: 'async' });
    await view.fetchAll();
    return [...new Uint8Array(await crypto.subtle.digest('SHA-256', await (await view.download()).arrayBuffer()))];
  }, link);
  expect(Buffer.from(bytes).toString('hex')).toBe(sha256(file));
});

test('a share that is stopped reads its file no further', async ({ newPeer, browserName }) => {
  // Only there a test can look into a worker.
  test.skip(browserName === 'firefox');
  const publisher = await newPeer();
  await publisher.go();
  const worker = publisher.page.workers()[0] ?? (await publisher.page.waitForEvent('worker'));
  await worker.evaluate(() => {
    const read = Blob.prototype.arrayBuffer;
    Object.assign(self, { reads: 0 });
    Blob.prototype.arrayBuffer = function () {
      (self as unknown as { reads: number }).reads += 1;
      return read.call(this);
    };
  });
  const reads = () => worker.evaluate(() => (self as unknown as { reads: number }).reads);
  await publisher.page.getByTestId('file-input').setInputFiles(await sparse('zeros-4000000000.bin', 4_000_000_000));
  await expect.poll(reads).toBeGreaterThan(10);
  publisher.page.on('dialog', (dialog) => void dialog.accept());
  await publisher.page.getByRole('button', { name: 'Stop sharing' }).click();
  await expect(publisher.page.getByTestId('drop-zone')).toBeVisible();
  // 4 GB take far longer than these looks. One read may be under way.
  await expect
    .poll(async () => {
      const before = await reads();
      await publisher.page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
      return (await reads()) - before;
    })
    .toBe(0);
});

test('a film of short fragments without an index is sought as soon as all of it is here', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(await film('short-fragments.mp4'));
  await viewer.go('/embed');
  const outcome = await viewer.page.evaluate(async (link) => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const view = (await Client.start()).open(link);
    await view.fetchAll();
    const video = document.querySelector('video')!;
    video.muted = true;
    video.currentTime = 27;
    view.attach(video);
    video.currentTime = 27;
    await new Promise((resolve) => {
      video.addEventListener('canplay', resolve);
      setTimeout(resolve, 60_000);
    });
    return { at: video.currentTime, ready: video.readyState >= 3, problem: view.stats().problem };
  }, link);
  expect(outcome).toEqual({ at: 27, ready: true, problem: null });
});
