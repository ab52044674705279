// Nobody is here, or nobody who has it: the page says so, plays what it has, and goes on by itself.
import { BUNNY, film } from '../lib/media.ts';
import { pausesAtOnce, plays, shown, state } from '../lib/player.ts';
import { expect, NETWORK_MESSAGES, test, type Peer } from '../lib/test.ts';

/** Remembers connections, so that a test can cut them as a broken line does. */
function keepConnections(): void {
  const connections: RTCPeerConnection[] = [];
  (window as unknown as { connections: RTCPeerConnection[] }).connections = connections;
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      connections.push(this);
    }
  };
}

const cutConnections = (peer: Peer): Promise<void> =>
  peer.page.evaluate(() => (window as unknown as { connections: RTCPeerConnection[] }).connections.forEach((it) => it.close()));

test('who loses everybody in the middle of a film plays what is here, and goes on by itself when somebody comes', async ({ newPeer, newProxy, server }) => {
  const proxy = await newProxy(server);
  const publisher = (await newPeer({ base: proxy.url, init: keepConnections })).allow(...NETWORK_MESSAGES);
  const link = await publisher.share(await film('colours.mp4'));
  // The whole film takes 45 s, so that a busy machine too cuts the line in its middle.
  await publisher.setUpload('share', { bytesPerSecond: 250_000 });
  const viewer = await newPeer({ init: pausesAtOnce });
  await viewer.open(link.replace(proxy.url, server.url));
  await shown(viewer.page);
  await expect.poll(async () => (await state(viewer.page)).paused).toBe(true);
  await viewer.until('view', (stats) => stats.have > 0.15);

  proxy.cut();
  await cutConnections(publisher);
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'nobody-here');
  await expect(error).toContainText('Nobody who has the rest is here right now.');
  await expect(error).toContainText('goes on by itself');
  await viewer.page.getByTestId('play').press('Enter');
  await plays(viewer.page, 1);
  await expect(viewer.page.locator('.loading')).toHaveCount(0);

  proxy.mend();
  await publisher.setUpload('share', { bytesPerSecond: null });
  await viewer.until('view', (stats) => stats.complete, { timeout: 90_000 });
  await expect(error).toHaveCount(0);
  await plays(viewer.page, 1);
});

/** What everybody says who waits for the same, though they have each other. */
async function says(viewers: Peer[], words: string): Promise<void> {
  for (const { page } of viewers) {
    const error = page.getByTestId('error');
    await expect(error).toHaveAttribute('data-code', 'nobody-here', { timeout: 60_000 });
    await expect(error).toContainText(words);
    await expect(page.locator('.loading')).toHaveCount(0);
  }
  for (const viewer of viewers) await viewer.until('view', (stats, others) => stats.peers.length === others, { argument: viewers.length - 1 });
}

test('two who open a dead link are told so, though they find each other, and start by themselves', async ({ newPeer, newProxy, server }) => {
  const proxy = await newProxy(server);
  const publisher = (await newPeer({ base: proxy.url })).allow(...NETWORK_MESSAGES);
  const link = (await publisher.share(BUNNY)).replace(proxy.url, server.url);
  await publisher.until('share', (stats) => stats.phase === 'sharing');
  proxy.cut();
  const viewers = [await newPeer(), await newPeer()];
  for (const viewer of viewers) await viewer.open(link);
  for (const viewer of viewers) await viewer.until('view', (stats) => stats.peers.length === 1);
  await says(viewers, 'Nobody who has this is here right now.');
  proxy.mend();
  for (const viewer of viewers) await shown(viewer.page, { timeout: 90_000 });
  for (const viewer of viewers) await expect(viewer.page.getByTestId('error')).toHaveCount(0);
});

test('a publisher who leaves early leaves two viewers who are told so', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  await publisher.setUpload('share', { bytesPerSecond: 150_000 });
  const viewers = [await newPeer(), await newPeer()];
  for (const viewer of viewers) await viewer.open(link);
  for (const viewer of viewers) {
    await shown(viewer.page);
    await viewer.until('view', (stats) => stats.have > 0.05 && stats.peers.length === 2);
  }
  expect((await publisher.stats('share'))!.others).toBeLessThan(1);
  await publisher.leave();
  await says(viewers, 'Nobody who has the rest is here right now.');
});

test('who waits for somebody who has paused passing on is told so, and goes on by itself', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  await publisher.setUpload('share', { paused: true });
  const viewer = await newPeer();
  await viewer.open(link);
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'all-paused');
  await expect(error).toContainText('Whoever has this is not passing it on at the moment.');
  await expect(viewer.page.locator('.loading')).toHaveCount(0);
  await publisher.setUpload('share', { paused: false });
  await shown(viewer.page);
  await expect(error).toHaveCount(0);
});

test('a server that takes the connection and says nothing is tried again', async ({ newPeer, newProxy, server }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  const proxy = await newProxy(server);
  proxy.silence();
  const viewer = (await newPeer({ base: proxy.url })).allow(...NETWORK_MESSAGES);
  await viewer.open(link.replace(server.url, proxy.url));
  const error = viewer.page.getByTestId('error');
  await expect(error).toHaveAttribute('data-code', 'server-lost');
  proxy.mend();
  await shown(viewer.page, { timeout: 90_000 });
  await expect(error).toHaveCount(0);
});
