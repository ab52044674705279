// Films with more than one sound and with words: each is chosen while the film plays, in either browser.
import type { Page } from '@playwright/test';
import { TONES, tracked, WORDS } from '../lib/media.ts';
import { awake, endless, plays, seek, shown, state, tone, words } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

/** Waits until this tone is what one hears. Firefox makes no sound where there is no sound card: there it is asked what is selected. */
async function hears(page: Page, browserName: string, hz: number): Promise<void> {
  const now = async (): Promise<number> => {
    if (browserName === 'firefox') return TONES[(await selected(page)) - 1]!;
    const heard = await tone(page);
    // A bin of the spectrum is 6 Hz wide.
    return Math.abs(heard - hz) < 12 ? hz : heard;
  };
  await expect.poll(now).toBe(hz);
}

/** The number of the sound track that plays. */
const selected = (page: Page): Promise<number> =>
  page.evaluate(() => {
    interface Film {
      tracks: { id: number; kind: string; selected: boolean }[];
    }
    const { view } = (window as unknown as { baton: { view: { film(): Film } } }).baton;
    return view.film().tracks.find((it) => it.kind === 'audio' && it.selected)?.id ?? 0;
  });

for (const [name, sounds, subtitles] of [
  // Different codecs: the SourceBuffer changes its type.
  ['tracks.mkv', ['aac', 'libopus'], 'srt'],
  ['tracks.mp4', ['aac', 'aac'], 'mov_text'],
] satisfies [string, [string, string], string][]) {
  test(`${name}: another sound and subtitles are chosen while it plays`, async ({ newPeer, browserName }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    await viewer.open(await publisher.share(await tracked(name, sounds, subtitles)));
    const { page } = viewer;
    const heard = (hz: number): Promise<void> => hears(page, browserName, hz);
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

test('sound that nobody decodes does not cost the picture: another track is heard', async ({ newPeer, browserName }) => {
  const publisher = await newPeer();
  const viewer = await newPeer();
  await viewer.open(await publisher.share(await tracked('first-dts.mkv', ['dca', 'aac'], 'srt')));
  await shown(viewer.page);
  await endless(viewer.page);
  await hears(viewer.page, browserName, TONES[1]);
  await plays(viewer.page);
  expect((await state(viewer.page)).sound).toBeGreaterThan(0);
});

for (const codec of ['ac3', 'eac3']) {
  test(`${codec}, which no browser decodes, is heard, and so is what is chosen after it`, async ({ newPeer, browserName }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    const { page } = viewer;
    await viewer.open(await publisher.share(await tracked(`first-${codec}.mkv`, [codec, 'aac'], 'srt')));
    await shown(page);
    await endless(page);
    await awake(page);
    await hears(page, browserName, TONES[0]);
    await seek(page, 12);
    await hears(page, browserName, TONES[0]);
    await plays(page);
    await page.getByTestId('tracks').click();
    await page.getByRole('radio', { name: /Kommentar/ }).check();
    await hears(page, browserName, TONES[1]);
    await page.getByRole('radio', { name: /English/ }).first().check();
    await hears(page, browserName, TONES[0]);
    expect((await viewer.stats('view'))!.problem).toBeNull();
  });
}
