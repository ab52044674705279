// How the pages look and feel: nothing scrolls sideways, both colour schemes, nothing that keeps people out.
import axe from 'axe-core';
import { BUNNY, noise } from '../lib/media.ts';
import { awake, endless, shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';
import type { PeerOptions } from '../lib/peer.ts';

type Scheme = 'light' | 'dark';

/** A phone held upright, in a colour scheme. Firefox takes the scheme from a preference: its driver cannot set it. */
function phone(browser: string, scheme: Scheme): PeerOptions {
  const context = { viewport: { width: 360, height: 740 }, hasTouch: true };
  if (browser === 'chromium') return { context: { ...context, colorScheme: scheme } };
  return { context, launch: { prefs: { 'layout.css.prefers-color-scheme.content-override': scheme === 'dark' ? 0 : 1 } } };
}

/** Pixels by which the page is wider than the window. */
function overhang(peer: Peer): Promise<number> {
  return peer.page.evaluate(() => {
    const page = document.documentElement;
    return Math.max(page.scrollWidth, document.body.scrollWidth) - page.clientWidth;
  });
}

/** What axe finds that keeps people out. */
async function barriers(peer: Peer): Promise<string[]> {
  await peer.page.evaluate(axe.source);
  return peer.page.evaluate(async () => {
    const { axe } = window as unknown as { axe: typeof import('axe-core') };
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary ?? ''}`));
  });
}

/** How light the page's background is, 0 to 255. */
function lightness(peer: Peer): Promise<number> {
  return peer.page.evaluate(() => {
    const colour = (element: Element): number[] => (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const [red, green, blue, alpha = 1] = colour(document.body);
    const [r, g, b] = alpha > 0 ? [red, green, blue] : colour(document.documentElement);
    return (r! + g! + b!) / 3;
  });
}

/** How high a plot's line rises, of 120. */
function peak(peer: Peer, which: 'up' | 'down'): Promise<number> {
  return peer.page.locator(`.plot-${which}`).evaluate((path) => {
    const heights = [...path.getAttribute('d')!.matchAll(/[ML][\d.-]+ ([\d.-]+)/g)].map((it) => 120 - Number(it[1]));
    return Math.max(...heights);
  });
}

async function isFine(peer: Peer): Promise<void> {
  expect(await overhang(peer), 'pixels too wide').toBeLessThanOrEqual(0);
  expect(await barriers(peer)).toEqual([]);
}

for (const scheme of ['light', 'dark'] as const) {
  test(`every page fits a phone and keeps nobody out, ${scheme}`, async ({ newPeer, browserName }) => {
    const publisher = await newPeer(phone(browserName, scheme));
    await publisher.go();
    await expect(publisher.page.getByTestId('drop-zone')).toBeVisible();
    const light = await lightness(publisher);
    if (scheme === 'dark') expect(light).toBeLessThan(80);
    else expect(light).toBeGreaterThan(175);
    await isFine(publisher);

    const link = await publisher.share(BUNNY);
    await expect(publisher.page.getByTestId('qr')).toBeVisible();
    await isFine(publisher);

    const viewer = await newPeer(phone(browserName, scheme));
    await viewer.open(link);
    await shown(viewer.page);
    await expect(viewer.page.getByTestId('peer-list').getByRole('listitem')).toHaveCount(1);
    await awake(viewer.page);
    await isFine(viewer);
    await publisher.until('share', (stats) => stats.peers.length === 1);
    await isFine(publisher);

    const long = 'A very long name without any break anywhere_'.repeat(4).replaceAll(' ', '_') + '.zip';
    const fileLink = await publisher.share(await noise(long, 100_000));
    await viewer.open(fileLink);
    await expect(viewer.page.getByTestId('download')).toBeVisible();
    await viewer.until('view', (stats) => stats.complete);
    await isFine(viewer);

    await viewer.go('/library');
    await expect(viewer.page.getByTestId('library-stream').first()).toBeVisible();
    await isFine(viewer);

    await viewer.open(`${link}x`);
    await expect(viewer.page.getByTestId('error')).toBeVisible();
    await isFine(viewer);
  });
}

test('whoever uses the keyboard sees where they are', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(BUNNY);
  const stops: string[] = [];
  for (let i = 0; i < 20; i++) {
    await publisher.page.keyboard.press('Tab');
    const stop = await publisher.page.evaluate(() => (document.activeElement === document.body ? '' : document.activeElement!.outerHTML.slice(0, 200)));
    if (stop === '' && stops.length > 0) break; // round, into the browser's own bars
    if (stop === '') continue;
    stops.push(stop);
    const ring = await publisher.page.evaluate(() => {
      const focused = document.activeElement!;
      const visible = focused.matches(':focus-visible');
      // A control under another's looks shows it there.
      const shown = [focused, focused.nextElementSibling, focused.parentElement].filter((it) => it !== null);
      const styles = shown.map((element) => getComputedStyle(element));
      return visible && styles.some((style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0);
    });
    expect(ring, stop).toBe(true);
  }
  // Brand, another file, stop, the link, copy, the switch.
  expect(stops.length).toBeGreaterThanOrEqual(6);
});

test('the film has the name of its file, and times and sizes as people write them', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await expect(viewer.page).toHaveTitle('big-buck-bunny-480p-30s.mp4');
  await expect(viewer.page.getByText('4.1 MB', { exact: true })).toBeVisible();
  await expect(viewer.page.getByText('0:30', { exact: true }).first()).toBeVisible();
  await expect(viewer.page.getByText('Watching passes the film on')).toBeVisible();
  const icon = await viewer.page.evaluate(async () => (await fetch(document.querySelector<HTMLLinkElement>('link[rel=icon]')!.href)).status);
  expect(icon).toBe(200);
});

test('both pages tell what goes on', async ({ newPeer }) => {
  const publisher = await newPeer();
  const first = await newPeer();
  const second = await newPeer();
  const link = await publisher.share(BUNNY);
  await first.open(link);
  await first.until('view', (stats) => stats.complete);
  await second.open(link);
  await shown(second.page);
  await second.until('view', (stats) => stats.complete && stats.peers.length === 2);

  for (const peer of [publisher, second]) {
    await expect(peer.page.getByTestId('peer-count')).toHaveText('2');
    await expect(peer.page.getByTestId('peer-list').getByRole('listitem')).toHaveCount(2);
    await expect(peer.page.getByRole('heading', { name: 'Speed' })).toBeVisible();
    // The plot has drawn what went over the line: somewhere the line is off the ground.
    await expect.poll(() => peak(peer, peer === second ? 'down' : 'up')).toBeGreaterThan(10);
  }
  await expect(second.page.getByTestId('peer-list')).toContainText('Publisher');
  await expect(second.page.getByTestId('peer-list').getByRole('img', { name: 'has it all' })).toHaveCount(2);
  await expect(second.page.getByTestId('offload')).toHaveText(/\d\s?%$/);
  const fromViewers = async (): Promise<string> => String((await second.stats('view'))!.from_viewers);
  await expect.poll(async () => (await second.page.getByTestId('bytes-from-peers').getAttribute('data-value')) === (await fromViewers())).toBe(true);
  const stats = (await second.stats('view'))!;
  // Who sent what, also now that nothing moves any more.
  const rows = second.page.getByTestId('peer-list').getByRole('listitem');
  for (const { id, received } of stats.peers.filter((it) => it.received > 0)) {
    await expect(rows.and(second.page.locator(`[data-peer="${id}"]`))).toContainText(/\d [KM]?B to you/);
    expect(received).toBeGreaterThan(0);
  }
  await expect(publisher.page.getByTestId('peer-list')).toContainText(/\d MB from you/);
  await expect(second.page.getByText('to the first picture')).toBeVisible();
  await expect(second.page.getByText(/^stalls?$/)).toBeVisible();
  await expect(publisher.page.getByText('passed on', { exact: true })).toBeVisible();
});

test('the screen stays on while the film plays, and may sleep when it is paused', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer({
    init: () => {
      const log: string[] = [];
      (window as unknown as { locks: string[] }).locks = log;
      Object.defineProperty(navigator, 'wakeLock', {
        value: {
          request: (type: string) => {
            log.push(`take ${type}`);
            return Promise.resolve({ release: () => Promise.resolve(void log.push('release')) });
          },
        },
      });
    },
  });
  await viewer.open(await publisher.share(BUNNY));
  await shown(viewer.page);
  await endless(viewer.page);
  const locks = () => viewer.page.evaluate(() => (window as unknown as { locks: string[] }).locks.join(', '));
  await expect.poll(locks).toBe('take screen');
  await awake(viewer.page);
  await viewer.page.getByTestId('play').click();
  await expect.poll(locks).toBe('take screen, release');
});
