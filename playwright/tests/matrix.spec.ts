// Whatever film people have, it plays: seen and heard at the right time, from its beginning, after jumps, and to its end.
// `cargo xtask media-matrix` plays all of lib/coded.ts, other runs ten of them.
import type { Page } from '@playwright/test';
import { CHOSEN, codedFilm, LENGTH_S, RATE, type Coded } from '../lib/coded.ts';
import { firstPicture } from '../lib/media.ts';
import { jump, listen, plays, seek, shown, state } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

/** Within one picture of the source, seconds. */
const SLACK_S = 0.04;
/** Where frames carry no times and there is no index, a jump goes where the mean rate says. */
const GUESS_S = 1.5;
/** Far ones first: there nothing is buffered yet, and the media engine has to find them. Behind the last one there is enough to listen to. */
const PLACES_S = [LENGTH_S - 3.94, 1.02, LENGTH_S - 8.3, LENGTH_S - 5.5, 12.7];

for (const film of CHOSEN) {
  test(`${film.name} plays`, async ({ newPeer, browserName }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    const { page } = viewer;
    const path = await codedFilm(film);
    await viewer.open(await publisher.share(path));
    if (film.foreign?.includes(browserName as 'chromium')) {
      const { problem } = await viewer.until('view', (stats) => stats.problem !== null);
      expect(problem!.code).toBe('unsupported-media');
      return;
    }
    await begins(page, film);
    // Who pauses a film that has not begun to run is not obeyed.
    if (!film.hears) await plays(page);
    const early_s = film.hears ? await heard(page, film, browserName) : null;
    await page.evaluate(() => document.querySelector('video')!.pause());

    const late_picture_s = film.sees ? await firstPicture(path) : 0;
    let behind_s = 0;
    for (const at_s of film.sees ? PLACES_S : []) {
      const from_s = at_s + film.from_s - late_picture_s;
      const due: [number, number] = [numberAt(film, from_s - film.slack_s), numberAt(film, from_s + film.slack_s)];
      const { number, mediaTime } = await jump(page, at_s, due, browserName === 'chromium');
      expect(number, `the picture at ${at_s} s (${mediaTime} s)`).toBeGreaterThanOrEqual(due[0]);
      expect(number, `the picture at ${at_s} s (${mediaTime} s)`).toBeLessThanOrEqual(due[1]);
      behind_s = number / RATE - mediaTime;
    }
    if (!film.sees) for (const at_s of PLACES_S) await seek(page, at_s);
    await page.evaluate(() => document.querySelector('video')!.play());
    const late_s = film.hears ? await heard(page, film, browserName) : null;
    for (const ahead_s of [early_s, late_s]) {
      if (ahead_s === null) continue;
      const slack_s = film.guesses ? GUESS_S : SLACK_S;
      // Beside the element's own time, the picture is where the jumps found it.
      const off_s = ahead_s - (byPicture(film, browserName) ? 0 : behind_s) + film.late_sound_s;
      expect(Math.abs(off_s), `sound is ${off_s} s from its picture`).toBeLessThan(slack_s);
    }
    await seek(page, LENGTH_S - 1.5);
    // Where listening took longer than the film, it is over, and stays paused when it is sought.
    await page.evaluate(() => void document.querySelector('video')!.play());
    await expect.poll(async () => (await state(page)).ended).toBe(true);
    const { problem } = (await viewer.stats('view'))!;
    expect(problem?.code ?? null).toBe(film.sees && !film.hears ? 'no-sound' : null);
  });
}

async function begins(page: Page, film: Coded): Promise<void> {
  if (film.sees) await shown(page);
  else await expect.poll(async () => (await state(page)).currentTime).toBeGreaterThan(0);
}

/** Firefox's clock goes in steps: what it tells is half of one old, on the average. Chromium's is exact, and a busy machine does not move it. */
const STEP_S = 0.04;

/** Whether its sound is looked at beside the picture on show, not beside the clock. */
const byPicture = (film: Coded, browserName: string): boolean => film.sees && browserName === 'firefox';

/** That there is sound, and how much later in the film it is than the picture or than the element's time. */
async function heard(page: Page, film: Coded, browserName: string): Promise<number> {
  // A picture that stays for long says little of the time.
  const due = (number: number): number | null => (number >= 0 && film.has(number + 1) ? (number + 0.5) / RATE : null);
  const { ahead_s, level } = await listen(page, byPicture(film, browserName) ? due : undefined);
  // Firefox makes less of six channels than Chromium.
  expect(level).toBeGreaterThan(film.wide ? 0.02 : 0.2);
  return film.sees || browserName === 'chromium' ? ahead_s : ahead_s - STEP_S / 2;
}

/** The number of the picture that is due. */
function numberAt(film: Coded, at_s: number): number {
  let number = Math.max(0, Math.floor(at_s * RATE));
  while (number > 0 && !film.has(number)) number--;
  return number;
}
