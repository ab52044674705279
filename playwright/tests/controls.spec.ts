// Every control of the player, as hands and keys use it.
import { BUNNY, film } from '../lib/media.ts';
import { awake, endless, plays, shown, state, watchFor } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';
import type { PeerOptions } from '../lib/peer.ts';

type NewPeer = (options?: PeerOptions) => Promise<Peer>;

/** Somebody who watches `colours.mp4`, all of it here, and round and round: no test comes too late. */
async function watching(newPeer: NewPeer, options: PeerOptions = {}): Promise<Peer> {
  const publisher = await newPeer();
  const viewer = await newPeer(options);
  await viewer.open(await publisher.share(await film('colours.mp4')));
  await shown(viewer.page);
  await viewer.until('view', (stats) => stats.complete);
  // The controls come with the page's second script, maybe after the film.
  await expect(viewer.page.getByTestId('play')).toBeAttached();
  await endless(viewer.page);
  return viewer;
}

const volume = (peer: Peer): Promise<number> =>
  peer.page.evaluate(() => {
    const video = document.querySelector('video')!;
    return video.muted ? 0 : video.volume;
  });

test('the volume goes by the mouse and by the arrow keys', async ({ newPeer }) => {
  const viewer = await watching(newPeer);
  const slider = viewer.page.getByRole('slider', { name: 'Volume' });
  await awake(viewer.page);
  const box = (await slider.boundingBox())!;
  await slider.click({ position: { x: box.width / 2, y: box.height / 2 } });
  await expect.poll(() => volume(viewer)).toBeLessThan(0.7);
  expect(await volume(viewer)).toBeGreaterThan(0.3);
  const middle = await volume(viewer);
  await slider.press('ArrowRight');
  await expect.poll(() => volume(viewer)).toBeGreaterThan(middle);
  await slider.press('Home');
  await expect.poll(() => volume(viewer)).toBe(0);
  await expect(viewer.page.getByRole('button', { name: 'Unmute' })).toBeVisible();
  await slider.press('End');
  await expect.poll(() => volume(viewer)).toBe(1);
  await expect(viewer.page.getByRole('button', { name: 'Mute', exact: true })).toBeVisible();
});

test('f goes full screen and back', async ({ newPeer }) => {
  const viewer = await watching(newPeer);
  const full = () => viewer.page.evaluate(() => document.fullscreenElement?.id ?? null);
  await viewer.page.keyboard.press('f');
  await expect.poll(full).toBe('stage');
  await viewer.page.keyboard.press('f');
  await expect.poll(full).toBe(null);
});

test('a finger plays and pauses', async ({ newPeer, browserName }) => {
  const viewer = await watching(newPeer, { context: { hasTouch: true, viewport: { width: 400, height: 800 } } });
  const play = viewer.page.getByTestId('play');
  await awake(viewer.page);
  const touch = async (): Promise<void> => {
    await expect(play).toBeVisible();
    // Firefox's BiDi has no touchscreen in Playwright: the click that a finger ends in.
    if (browserName === 'chromium') await play.tap();
    else await play.dispatchEvent('click', { pointerType: 'touch' });
  };
  await touch();
  await expect.poll(async () => (await state(viewer.page)).paused).toBe(true);
  await touch();
  await expect.poll(async () => (await state(viewer.page)).paused).toBe(false);
  await plays(viewer.page);
});

/** A browser whose picture-in-picture a test can see; no headless browser opens the window. */
function stubPip(): void {
  let inside: Element | null = null;
  const define = (target: object, name: string, value: () => unknown): void => {
    Object.defineProperty(target, name, { configurable: true, get: value });
  };
  define(Document.prototype, 'pictureInPictureEnabled', () => true);
  define(Document.prototype, 'pictureInPictureElement', () => inside);
  define(HTMLVideoElement.prototype, 'disablePictureInPicture', () => false);
  Document.prototype.exitPictureInPicture = () => Promise.resolve(void (inside = null));
  HTMLVideoElement.prototype.requestPictureInPicture = function () {
    inside = this;
    return Promise.resolve({} as PictureInPictureWindow);
  };
}

for (const [what, width] of [['a laptop', 1100], ['a phone', 360]] as const) {
  test(`the picture goes into the picture and back on ${what}`, async ({ newPeer }) => {
    const viewer = await watching(newPeer, { init: stubPip, context: { viewport: { width, height: 740 } } });
    const inside = () => viewer.page.evaluate(() => document.pictureInPictureElement?.tagName ?? null);
    const button = viewer.page.getByRole('button', { name: 'Picture in picture' });
    await awake(viewer.page);
    await button.click();
    await expect.poll(inside).toBe('VIDEO');
    await button.click();
    await expect.poll(inside).toBe(null);
  });
}

test('where there is no picture in picture, there is no button for it', async ({ newPeer }) => {
  const viewer = await watching(newPeer, {
    init: () => Object.defineProperty(Document.prototype, 'pictureInPictureEnabled', { get: () => false }),
  });
  await expect(viewer.page.getByTestId('play')).toBeVisible();
  await expect(viewer.page.getByRole('button', { name: 'Picture in picture' })).toHaveCount(0);
});

test('the slider pulled to its very end ends the film, and play begins it again', async ({ newPeer }) => {
  const viewer = await watching(newPeer);
  const { page } = viewer;
  const slider = page.getByTestId('seek');
  await page.evaluate(() => (document.querySelector('video')!.loop = false));
  await slider.press('End');
  await expect.poll(async () => (await state(page)).ended).toBe(true);
  const begins = await watchFor(page, { before: 5 });
  await page.getByTestId('play').press('Enter');
  await begins();
  await plays(page);
  await awake(page);
  const box = (await slider.boundingBox())!;
  await slider.click({ position: { x: box.width - 1, y: box.height / 2 } });
  await expect.poll(async () => (await state(page)).ended).toBe(true);
});

test('where even the muted film may not begin, one large button begins it', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  const viewer = await newPeer({
    // The strictest browsers: nothing plays before a click.
    init: () => {
      let clicked = false;
      addEventListener('click', () => (clicked = true), true);
      const play = HTMLMediaElement.prototype.play;
      HTMLMediaElement.prototype.play = function () {
        return clicked ? play.call(this) : Promise.reject(new DOMException('no gesture yet', 'NotAllowedError'));
      };
    },
  });
  await viewer.open(link);
  const button = viewer.page.locator('.big-play');
  await expect(button).toBeVisible();
  expect(await state(viewer.page)).toMatchObject({ paused: true, currentTime: 0 });
  await button.click();
  await plays(viewer.page);
  await expect.poll(async () => (await state(viewer.page)).muted).toBe(false);
  await expect(button).toHaveCount(0);
});

test('the system’s media keys play and pause, each only what it says', async ({ newPeer }) => {
  const viewer = await watching(newPeer, {
    init: () => {
      const handlers: Record<string, unknown> = {};
      Object.assign(window, { handlers });
      MediaSession.prototype.setActionHandler = (action, handler) => void (handlers[action] = handler);
    },
  });
  const press = (key: string) =>
    viewer.page.evaluate((key) => (window as unknown as { handlers: Record<string, () => void> }).handlers[key]!(), key);
  await expect.poll(() => viewer.page.evaluate(() => 'pause' in (window as unknown as { handlers: object }).handlers)).toBe(true);
  for (const [key, paused] of [['play', false], ['pause', true], ['pause', true], ['play', false]] as const) {
    await press(key);
    await expect.poll(async () => (await state(viewer.page)).paused).toBe(paused);
  }
});

test('who goes by the keyboard sees where they are, however long they think', async ({ newPeer }) => {
  const viewer = await watching(newPeer);
  const { page } = viewer;
  const controls = page.locator('.controls');
  await page.mouse.move(2, 2);
  await page.getByTestId('seek').focus();
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Tab');
  await expect(page.getByTestId('seek')).toBeFocused();
  // Film time passes, and with it the moment at which the controls of an idle hand go away.
  await plays(page, 4);
  await expect(controls).toHaveCSS('opacity', '1');
  // A hand that goes away leaves the picture to itself.
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await expect(controls).toHaveCSS('opacity', '0');

  await page.mouse.move(12, 12);
  const stops: string[] = [];
  // From the first control on: a Firefox under a driver does not come back from its own bars.
  await page.getByTestId('seek').focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Shift+Tab');
  for (let i = 0; i < 12; i++) {
    if (i > 0) await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const focused = document.activeElement!;
      const shown = [focused, focused.nextElementSibling, focused.previousElementSibling, focused.parentElement].filter((it) => it !== null);
      const ring = shown.some((element) => {
        const style = getComputedStyle(element);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
      });
      const name = focused.getAttribute('aria-label') ?? focused.textContent ?? '';
      return focused.closest('.deck') === null ? '' : `${name}${focused.matches(':focus-visible') && ring ? '' : ' WITHOUT A RING'}`;
    });
    // What is not the player's: the page, and the browser's own bars.
    if (stop !== '') stops.push(stop);
  }
  expect(stops.filter((stop) => stop.endsWith('RING'))).toEqual([]);
  for (const name of ['Position', 'Pause', 'Mute', 'Volume', 'Full screen']) expect(stops).toContain(name);
});
