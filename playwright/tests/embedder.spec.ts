// What an embedder may do with a view at any moment: jump before there is a film, change the element, open what is no link.
import { expect, test } from '../lib/test.ts';
import { BUNNY } from '../lib/media.ts';

type Module = { Client: typeof import('../../web/src/api.ts').Client };

test('a jump before the film is there begins the film there', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.go('/embed');
  const shown = await viewer.page.evaluate(async (link) => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const client = await Client.start();
    const view = client.open(link);
    const video = document.querySelector('video')!;
    video.muted = true;
    view.attach(video);
    video.currentTime = 20;
    for (let i = 0; i < 600 && video.readyState < 3 && !view.stats().problem; i++) await new Promise((done) => setTimeout(done, 100));
    const { currentTime, readyState } = video;
    return { currentTime, ready: readyState >= 3, problem: view.stats().problem };
  }, link);
  expect(shown.problem).toBeNull();
  expect(shown.ready).toBe(true);
  expect(shown.currentTime).toBeGreaterThanOrEqual(19.9);
});

test('a view moves to another element', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.go('/embed');
  const outcomes = await viewer.page.evaluate(async (link) => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const client = await Client.start();
    const view = client.open(link);
    const ready: boolean[] = [];
    for (let n = 0; n < 2; n++) {
      const video = document.createElement('video');
      video.muted = true;
      view.attach(video);
      for (let i = 0; i < 600 && video.readyState < 3; i++) await new Promise((done) => setTimeout(done, 100));
      ready.push(video.readyState >= 3);
    }
    return { ready, problem: view.stats().problem };
  }, link);
  expect(outcomes).toEqual({ ready: [true, true], problem: null });
});

test('a view is attached to the same element once more', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  const link = await publisher.share(BUNNY);
  await viewer.go('/embed');
  const outcome = await viewer.page.evaluate(async (link) => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const client = await Client.start();
    const view = client.open(link);
    const video = document.querySelector('video')!;
    video.muted = true;
    view.attach(video);
    view.attach(video);
    for (let i = 0; i < 600 && view.stats().startup_ms === null; i++) await new Promise((done) => setTimeout(done, 100));
    return { shown: view.stats().startup_ms !== null, problem: view.stats().problem };
  }, link);
  expect(outcome).toEqual({ shown: true, problem: null });
});

test('what is no link keeps nobody waiting', async ({ newPeer }) => {
  const page = await newPeer();
  await page.go('/embed');
  const outcomes = await page.page.evaluate(async () => {
    const { Client } = (await import('/client.js' as string)) as Module;
    const client = await Client.start();
    const view = client.open(`${location.origin}/#nonsense`);
    const promises: Promise<unknown>[] = [view.meta, view.fetchAll(), view.download()];
    return Promise.all(promises.map((promise) => promise.then(() => 'kept', (error: Error) => error.message)));
  });
  expect(outcomes).toEqual(['bad-link', 'bad-link', 'bad-link']);
});
