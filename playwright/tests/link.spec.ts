// Drop a file: the link is there at once, and the page says when its publisher may leave.
import { readFileSync } from 'node:fs';
import { BUNNY, b3sum, sparse } from '../lib/media.ts';
import { readQr } from '../lib/qr.ts';
import { expect, test, type Peer } from '../lib/test.ts';

/** Whether closing the page would be warned against. Asked of the page itself: a stock Firefox under a driver shows no such dialogue. */
function warns(peer: Peer): Promise<boolean> {
  return peer.page.evaluate(() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })));
}

for (const [size, length] of [['4 MB', 4_000_000], ['4 GB', 4_000_000_000]] as const) {
  test(`a file of ${size} has its link before any of it is read`, async ({ newPeer }) => {
    const publisher = await newPeer();
    await publisher.go();
    // The first statistics that there are after the link appeared.
    const seen = publisher.page.evaluate(
      () =>
        new Promise<{ url: string; progress: number | null }>((resolve) => {
          new MutationObserver((_, observer) => {
            const field = document.querySelector<HTMLInputElement>('[data-testid=share-url]');
            if (!field?.value) return;
            observer.disconnect();
            const { baton } = window as unknown as { baton: { share: { url: string; stats(): { hash_progress: number | null } } } };
            resolve({ url: field.value, progress: baton.share.stats().hash_progress });
          }).observe(document, { childList: true, subtree: true });
        }),
    );
    await publisher.page.getByTestId('file-input').setInputFiles(await sparse(`zeros-${length}.bin`, length));
    const { url, progress } = await seen;
    expect(url).toMatch(/^http:\/\/localhost:\d+\/#[A-Za-z0-9_-]{70,}$/);
    expect(progress).toBeNull();
    await expect(publisher.page.getByTestId('qr')).toBeVisible();
    // And reading goes on behind it, until the hash is here.
    await publisher.until('share', (stats) => (stats.hash_progress ?? 0) > 0 || stats.blake3 !== null);
  });
}

test('a dropped file is shared like a chosen one', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.go();
  const bytes = [...readFileSync(BUNNY).subarray(0, 100_000)];
  await publisher.page.getByTestId('drop-zone').evaluate((zone, bytes) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(bytes)], 'dropped.bin'));
    for (const name of ['dragenter', 'dragover', 'drop']) {
      zone.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true, cancelable: true }));
    }
  }, bytes);
  await expect(publisher.page.getByTestId('share-url')).toHaveValue(/#/);
  await expect(publisher.page.getByRole('heading', { name: 'dropped.bin' })).toBeVisible();
  await expect(publisher.page).toHaveTitle('dropped.bin');
});

test('the copied link pastes as it was shown, and opens', async ({ newPeer, browserName }) => {
  const permissions = browserName === 'chromium' ? ['clipboard-read', 'clipboard-write'] : [];
  const publisher = await newPeer({ context: { permissions } });
  const link = await publisher.share(BUNNY);
  const button = publisher.page.getByTestId('copy-link');
  await button.click();
  await expect(button).toHaveText('Copied');

  const tab = await publisher.context.newPage();
  await tab.goto('/');
  const field = tab.getByRole('textbox', { name: 'Got a link?' });
  await field.focus();
  await tab.keyboard.press('ControlOrMeta+V');
  await expect(field).toHaveValue(link);
  await field.press('Enter');
  await expect(tab).toHaveTitle('big-buck-bunny-480p-30s.mp4');
});

test('the QR code holds the link', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  const code = publisher.page.getByTestId('qr');
  await expect(code).toBeVisible();
  expect(await readQr(code)).toBe(link);
});

test('a link that says localhost tells so', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(BUNNY);
  await expect(publisher.page.getByText('it works on this computer only')).toBeVisible();
});

test('the checksum arrives and is what b3sum prints, also at the viewer', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  await expect(publisher.page.getByTestId('blake3')).toHaveText(b3sum(BUNNY));
  expect((await publisher.stats('share'))!.hash_progress).toBeNull();
  const viewer = await newPeer();
  await viewer.open(link);
  const { blake3 } = await viewer.until('view', (stats) => stats.blake3 !== null);
  expect(blake3).toBe(b3sum(BUNNY));
});

test('every share has a link of its own', async ({ newPeer }) => {
  const publisher = await newPeer();
  const first = await publisher.share(BUNNY);
  publisher.page.on('dialog', (dialog) => void dialog.accept());
  await publisher.page.getByTestId('file-input').setInputFiles(BUNNY);
  const field = publisher.page.getByTestId('share-url');
  await expect(field).not.toHaveValue(first);
  await expect(field).toHaveValue(/#/);
});

test('the publisher sees when it may leave, and is warned only before that', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  const safe = publisher.page.getByTestId('safe-to-leave');
  await expect(safe).toHaveText('Only you have it so far.');
  await expect(safe).toHaveAttribute('data-safe', 'false');
  expect(await warns(publisher)).toBe(true);

  const viewer = await newPeer();
  await viewer.open(link);
  await publisher.until('share', (stats) => stats.complete_peers === 1);
  await expect(safe).toHaveText('Safe to close: 1 person has it all.');
  await expect(safe).toHaveAttribute('data-safe', 'true');
  expect(await warns(publisher)).toBe(false);

  // Whoever made it safe has left: it is not safe any more.
  await viewer.leave();
  await expect(safe).toHaveText('Only you have it so far.', { timeout: 90_000 });
  expect(await warns(publisher)).toBe(true);
});

test('the publisher sees how much the others have', async ({ newPeer }) => {
  const publisher = await newPeer();
  const link = await publisher.share(BUNNY);
  // Forty seconds for all of it: no machine is so busy that it looks when there is nothing left to say.
  await publisher.setUpload('share', { bytesPerSecond: 100_000 });
  const viewer = await newPeer();
  await viewer.open(link);
  await publisher.until('share', (stats) => stats.others > 0.05);
  await expect(publisher.page.getByTestId('safe-to-leave')).toHaveText(/^Only you have all of it \(others \d+\s?%\)\.$/);
  await expect(publisher.page.getByTestId('peer-count')).toHaveText('1');
  await expect(publisher.page.getByTestId('peer-list').getByRole('listitem')).toHaveCount(1);
});

test('a publisher that stops sharing is asked first, and its link ends', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(BUNNY);
  const asked = publisher.page.waitForEvent('dialog').then(async (dialog) => {
    await dialog.accept();
    return dialog.message();
  });
  await publisher.page.getByRole('button', { name: 'Stop sharing' }).click();
  expect(await asked).toContain('Only you have all of it');
  await expect(publisher.page.getByTestId('drop-zone')).toBeVisible();
});

test('whoever drops another file is asked before the running share ends, and may say no', async ({ newPeer }) => {
  const publisher = await newPeer();
  const first = await publisher.share(BUNNY);
  const field = publisher.page.getByTestId('share-url');
  const asked: string[] = [];
  let answer = false;
  publisher.page.on('dialog', (dialog) => {
    asked.push(dialog.message());
    void (answer ? dialog.accept() : dialog.dismiss());
  });
  const choose = () => publisher.page.getByTestId('file-input').setInputFiles({ name: 'other.bin', mimeType: '', buffer: Buffer.from('other') });
  await choose();
  await expect.poll(() => asked.length).toBe(1);
  expect(asked[0]).toContain('Only you have all of big-buck-bunny-480p-30s.mp4');
  await expect(field).toHaveValue(first);
  const viewer = await newPeer();
  await viewer.open(first);
  await viewer.until('view', (stats) => stats.have > 0);

  // Once somebody has it all there is nothing to ask.
  await publisher.until('share', (stats) => stats.complete_peers === 1);
  await choose();
  await expect(field).not.toHaveValue(first);
  expect(asked.length).toBe(1);
  answer = true;
  await publisher.page.getByTestId('file-input').setInputFiles(BUNNY);
  await expect(publisher.page).toHaveTitle('big-buck-bunny-480p-30s.mp4');
  expect(asked.length).toBe(2);
});

test('a publisher who looks at another’s link in the same tab is still warned', async ({ newPeer }) => {
  const other = await newPeer();
  const publisher = await newPeer();
  const link = await other.share(BUNNY);
  await publisher.share({ name: 'mine.bin', mimeType: '', buffer: Buffer.from('mine') });
  await publisher.open(link);
  await expect(publisher.page.getByText('You are still sharing mine.bin.')).toBeVisible();
  expect(await warns(publisher)).toBe(true);
  await publisher.page.getByRole('link', { name: 'Back to it' }).click();
  await expect(publisher.page.getByTestId('share-url')).toHaveValue(/#/);
  expect(await warns(publisher)).toBe(true);
});

test('where the system has a share sheet, a button opens it with the link', async ({ newPeer }) => {
  const sheet = (): void => {
    const shared: unknown[] = [];
    Object.assign(window, { shared });
    Object.defineProperty(navigator, 'share', { configurable: true, value: (what: unknown) => Promise.resolve(void shared.push(what)) });
  };
  const publisher = await newPeer({ init: sheet });
  const link = await publisher.share(BUNNY);
  await publisher.page.getByRole('button', { name: 'Share…' }).click();
  expect(await publisher.page.evaluate(() => (window as unknown as { shared: unknown[] }).shared)).toEqual([{ url: link, title: 'Baton' }]);

  const without = await newPeer({ init: () => Object.defineProperty(navigator, 'share', { value: undefined }) });
  await without.share(BUNNY);
  await expect(without.page.getByTestId('copy-link')).toBeVisible();
  await expect(without.page.getByRole('button', { name: 'Share…' })).toHaveCount(0);
});

test('hashing shows how far it is, and is told as nothing before it begins', async ({ newPeer }) => {
  const publisher = await newPeer();
  await publisher.share(await sparse('zeros-40000000000.bin', 40_000_000_000));
  const bar = publisher.page.getByRole('progressbar', { name: 'BLAKE3' });
  await expect(bar).toBeVisible();
  const value = async (): Promise<number> => Number(await bar.getAttribute('value'));
  const first = await value();
  await expect.poll(value).toBeGreaterThan(first);
  await expect(publisher.page.getByText(/Reading it once for its checksum: \d+ %/)).toBeVisible();
  const { hash_progress } = await publisher.until('share', (stats) => (stats.hash_progress ?? 0) > 0);
  expect(hash_progress).toBeLessThan(1);
});
