// Films with more than one sound and with words: each is chosen while the film plays, in either browser.
import type { Page } from '@playwright/test';
import { TONES, tracked, WORDS } from '../lib/media.ts';
import { awake, endless, plays, seek, shown, state, tone, words } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

/** Waits until this tone is what one hears. */
async function hears(page: Page, hz: number): Promise<void> {
  // A bin of the spectrum is 6 Hz wide.
  await expect.poll(async () => Math.abs((await tone(page)) - hz)).toBeLessThan(12);
}

for (const [name, sounds, subtitles] of [
  // Different codecs: the SourceBuffer changes its type.
  ['tracks.mkv', ['aac', 'libopus'], 'srt'],
  ['tracks.mp4', ['aac', 'aac'], 'mov_text'],
] satisfies [string, [string, string], string][]) {
  test(`${name}: another sound and subtitles are chosen while it plays`, async ({ newPeer }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    await viewer.open(await publisher.share(await tracked(name, sounds, subtitles)));
    const { page } = viewer;
    const heard = (hz: number): Promise<void> => hears(page, hz);
    await shown(page);
    await endless(page);
    await awake(page);
    await heard(TONES[0]);
    await expect(page.getByTestId('chapter')).toHaveCount(1);

    await page.getByTestId('tracks').click();
    await page.getByRole('radio', { name: /Kommentar/ }).check();
    await heard(TONES[1]);
    await plays(page);
    expect(await words(page)).toBe('');
    await page.getByRole('radio', { name: /French/ }).check();
    await seek(page, WORDS[1]!.from + 0.5);
    await expect.poll(() => words(page)).toBe(WORDS[1]!.text);
    await heard(TONES[1]);
    await page.getByRole('radio', { name: 'Off' }).check();
    await expect.poll(() => words(page)).toBe('');
    await page.getByRole('radio', { name: /English/ }).first().check();
    await heard(TONES[0]);
    expect(await state(page)).toMatchObject({ error: null, paused: false });
    const stats = (await viewer.stats('view'))!;
    expect(stats.problem).toBeNull();
  });
}

test('sound that nobody decodes does not cost the picture: another track is heard', async ({ newPeer }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(await tracked('first-dts.mkv', ['dca', 'aac'], 'srt')));
  await shown(viewer.page);
  await endless(viewer.page);
  await hears(viewer.page, TONES[1]);
  await plays(viewer.page);
  expect((await state(viewer.page)).sound).toBeGreaterThan(0);
});

for (const codec of ['ac3', 'eac3']) {
  test(`${codec}, which no browser decodes, is heard, and so is what is chosen after it`, async ({ newPeer }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    const { page } = viewer;
    await viewer.open(await publisher.share(await tracked(`first-${codec}.mkv`, [codec, 'aac'], 'srt')));
    await shown(page);
    await endless(page);
    await awake(page);
    await hears(page, TONES[0]);
    await seek(page, 12);
    await hears(page, TONES[0]);
    await plays(page);
    await page.getByTestId('tracks').click();
    await page.getByRole('radio', { name: /Kommentar/ }).check();
    await hears(page, TONES[1]);
    await page.getByRole('radio', { name: /English/ }).first().check();
    await hears(page, TONES[0]);
    expect((await viewer.stats('view'))!.problem).toBeNull();
  });
}
