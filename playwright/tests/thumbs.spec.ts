// The picture over the seek bar: what the film shows there, out of what is here, and no byte fetched for it.
import type { Page } from '@playwright/test';
import { CHOSEN, RATE, codedFilm } from '../lib/coded.ts';
import { DIGIT, film, secondOf } from '../lib/media.ts';
import { awake, drawn, shown } from '../lib/player.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** Points at a place of the film, with a mouse. */
async function pointAt(page: Page, seconds: number): Promise<void> {
  const box = (await page.getByTestId('seek').boundingBox())!;
  const all = await page.evaluate(() => document.querySelector('video')!.duration);
  // Half the slider's thumb lies beyond either end of the film.
  await page.mouse.move(box.x + 8 + ((box.width - 16) * seconds) / all, box.y + box.height / 2);
}

/** The number of the picture that is drawn over the bar; -1 where there is none to read. */
function numberDrawn(page: Page): Promise<{ at_s: number; number: number } | null> {
  return page.evaluate((digit) => {
    const thumb = document.querySelector<HTMLElement>('[data-testid=thumb]');
    const picture = thumb?.querySelector('canvas');
    if (!thumb || !picture) return null;
    const scale = picture.height / digit.pictureHeight;
    const context = picture.getContext('2d')!;
    const light = (bit: number, row: number): number => {
      const [left, top] = [bit * digit.width + digit.width / 4, row * digit.height + digit.height / 4].map((it) => Math.round(it * scale));
      const { data } = context.getImageData(left!, top!, Math.round((digit.width / 2) * scale), Math.round((digit.height / 2) * scale));
      return data.reduce((sum, value, i) => (i % 4 === 1 ? sum + value : sum), 0) / (data.length / 4);
    };
    let number = 0;
    for (let bit = 0; bit < digit.count; bit++) {
      const difference = light(bit, 0) - light(bit, 1);
      if (Math.abs(difference) < 100) return { at_s: Number(thumb.dataset.at), number: -1 };
      if (difference > 0) number += 2 ** bit;
    }
    return { at_s: Number(thumb.dataset.at), number };
  }, DIGIT);
}

async function watches(newPeer: () => Promise<Peer>, path: string): Promise<Peer> {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(path));
  await shown(viewer.page);
  return viewer;
}

test('over the seek bar is the key frame before the place that is pointed at', async ({ newPeer }) => {
  const viewer = await watches(newPeer, await film('colours.mp4'));
  const { page } = viewer;
  await awake(page);
  await viewer.until('view', (stats) => stats.complete);
  for (const at_s of [25.5, 7.2, 16.5, 21.5, 9.5]) {
    await pointAt(page, at_s);
    // A key frame every two seconds, and another colour each second, which a codec cuts off near either end of the film.
    const key = Math.floor(at_s / 2) * 2;
    await expect.poll(async () => (await drawn(page))?.at_s).toBeCloseTo(key, 1);
    await expect.poll(async () => secondOf((await drawn(page))!.colour)).toBe(key);
  }
  await page.mouse.move(10, 10);
  await expect(page.getByTestId('thumb')).toHaveCount(0);
  // The film plays on, in the one video of the document.
  expect(await page.locator('video').count()).toBe(1);

  // Whoever drags sees it too.
  await page.getByTestId('seek').evaluate((slider: HTMLInputElement) => {
    slider.value = '21';
    slider.dispatchEvent(new Event('input', { bubbles: true }));
  });
  await shown(page, { from: 20.9 });
});

for (const coded of CHOSEN.filter((it) => it.sees)) {
  test(`of ${coded.name} the picture over the seek bar is the one that it says`, async ({ newPeer, browserName }) => {
    test.skip(coded.foreign?.includes(browserName as 'chromium') === true, 'this browser does not decode it');
    const viewer = await watches(newPeer, await codedFilm(coded));
    const { page } = viewer;
    await awake(page);
    await viewer.until('view', (stats) => stats.complete);
    for (const at_s of [20.2, 6.1, 13.3]) {
      await pointAt(page, at_s);
      const seen = async () => {
        const now = await numberDrawn(page);
        return now !== null && now.at_s <= at_s && now.at_s > at_s - 10 ? now : null;
      };
      await expect.poll(async () => (await seen())?.number ?? -1, { message: `a picture for ${at_s} s` }).toBeGreaterThanOrEqual(0);
      const { at_s: told_s, number } = (await seen())!;
      // The film may begin with a later picture than its master, and its muxer may round.
      const from = Math.round((told_s + coded.from_s) * RATE);
      expect(Math.abs(number - from), `picture ${number} is said to be of ${told_s} s`).toBeLessThanOrEqual(3);
    }
  });
}

test('where nothing is here yet the time stands alone, and nothing is fetched', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(await film('colours.mp4'));
  await publisher.setUpload('share', { bytesPerSecond: 100_000 });
  const viewer = await newPeer();
  await viewer.open(link);
  const { page } = viewer;
  await shown(page);
  await awake(page);
  await publisher.setUpload('share', { paused: true });
  const far = (): Promise<unknown> => page.evaluate(() => (window as unknown as { baton: { view: { still(at: number): Promise<unknown> } } }).baton.view.still(27));
  expect(await far()).toBe(null);
  await pointAt(page, 27.4);
  await expect(page.locator('.seek-tip').first()).toHaveText('0:27');
  await expect(page.getByTestId('thumb')).toHaveCount(0);
});
