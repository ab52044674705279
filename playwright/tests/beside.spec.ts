// What lies beside a film or in it: subtitle files in the same link, and what the file says of itself.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { film, ownFile, tagged, WORDS } from '../lib/media.ts';
import { awake, endless, seek, shown, words } from '../lib/player.ts';
import { expect, test } from '../lib/test.ts';

const srt = (texts: string[]): string =>
  WORDS.map(({ from, to }, i) => `${i + 1}\n00:00:${String(from).padStart(2, '0')},000 --> 00:00:${to},000\n${texts[i]}\n`).join('\n');
const ass = (texts: string[]): string =>
  '[Events]\n' + WORDS.map(({ from, to }, i) => `Dialogue: 0,0:00:${from}.00,0:00:${to}.00,Default,,0,0,0,,${texts[i]}\n`).join('');

/** A film and its subtitle files, all in one folder. */
async function withSubtitles(name: string): Promise<string[]> {
  const path = ownFile(name, readFileSync(await film('moov-start.mp4')));
  const beside = {
    'Ein Film.en.srt': srt(['A <i>rabbit</i>', 'A butterfly']),
    'Ein Film.de.forced.ass': ass(['Ein {\\b1}Hase', 'Ein Falter']),
    'Ein Film.pt-BR.vtt': 'WEBVTT\n\n00:01.000 --> 00:06.000\nUm coelho\n',
    'Ein Film.fr.srt': 'no subtitles in here',
  };
  const files = Object.entries(beside).map(([file, text]) => {
    const at = join(dirname(path), file);
    writeFileSync(at, text);
    return at;
  });
  return [...files, path];
}

test('subtitle files chosen with a film are its subtitles for whoever watches', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.go();
  await publisher.page.getByTestId('file-input').setInputFiles(await withSubtitles('Ein Film.mp4'));
  // Called by the film's own name, though others come before it.
  await expect(publisher.page.getByRole('heading', { name: 'Ein Film.mp4' })).toBeVisible();
  const viewer = await newPeer();
  await viewer.open(await publisher.page.getByTestId('share-url').inputValue());
  const { page } = viewer;
  await shown(page);
  await endless(page);
  await awake(page);
  await page.getByTestId('tracks').click();
  const choice = (name: string | RegExp) => page.getByRole('radio', { name });
  await expect(choice(/German/)).toHaveCount(1);
  await expect(choice(/Portuguese/)).toHaveCount(1);
  expect(await words(page)).toBe('');

  await choice(/English/).check();
  await seek(page, WORDS[0]!.from + 0.5);
  await expect.poll(() => words(page)).toBe('A <i>rabbit</i>');
  await choice(/German, foreign words only/).check();
  await expect.poll(() => words(page)).toBe('Ein <b>Hase</b>');
  await choice(/Portuguese/).check();
  await expect.poll(() => words(page)).toBe('Um coelho');
  await choice(/English/).check();
  await seek(page, WORDS[1]!.from + 0.5);
  await expect.poll(() => words(page)).toBe('A butterfly');
  await choice('Off').check();
  await expect.poll(() => words(page)).toBe('');
  // What turns out to be none goes.
  await choice(/French/).click();
  await expect(choice(/French/)).toHaveCount(0);
  await expect(choice('Off')).toBeChecked();
  expect((await viewer.stats('view'))!.problem).toBeNull();
});

for (const [name, onStage] of [
  ['cover.mp4', false],
  ['cover.mkv', false],
  ['cover.flac', true],
] as const) {
  test(`${name}: title, artist and cover are shown as the file has them`, async ({ newPeer }) => {
    const publisher = await newPeer();
    const viewer = await newPeer();
    await viewer.open(await publisher.share(await tagged(name)));
    const about = viewer.page.getByTestId('about');
    await expect(about).toContainText('Der Käse');
    await expect(about).toContainText('Ärzte');
    const size = (selector: string): Promise<string> =>
      viewer.page.evaluate((selector) => {
        const image = document.querySelector<HTMLImageElement>(selector);
        return image ? `${image.naturalWidth}x${image.naturalHeight}` : '';
      }, selector);
    await expect.poll(() => size('[data-testid=cover]')).toBe('160x90');
    await expect.poll(() => size('.sound img')).toBe(onStage ? '160x90' : '');
    // How long it is stands beside how large it is.
    await expect(viewer.page.locator('.facts')).toContainText('0:20');
    expect((await viewer.stats('view'))!.problem).toBeNull();
  });
}
