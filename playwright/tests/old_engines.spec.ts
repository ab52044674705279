// The watch page in engines that televisions still have: Chromium 79 and 86, against people with today's browsers.
// What runs in a television is written in words of 2019: no `?.`, no `??`.
import { BUNNY, film } from '../lib/media.ts';
import type { Tv, Version } from '../lib/old_engine.ts';
import { expect, test } from '../lib/test.ts';

const VERSIONS: Version[] = [79, 86];

/** Waits until the television shows pictures that move, from this time on; gives the time. */
function playsOn(tv: Tv, from = 0): Promise<number> {
  return tv.until((from) => {
    const video = document.querySelector('video')!;
    const was = Number(video.dataset.was);
    const now = video.currentTime;
    if (video.readyState < 2 || video.seeking || video.paused || now < from) return 0;
    if (isNaN(was)) video.dataset.was = String(now);
    else if (now > was + 0.5) {
      delete video.dataset.was;
      return now;
    }
    return 0;
  }, from);
}

const seek = (tv: Tv, seconds: number): Promise<void> =>
  tv.run((seconds) => {
    const video = document.querySelector('video')!;
    delete video.dataset.was;
    video.currentTime = seconds;
    // On a busy machine it is over by now, or would be before it was looked at.
    video.loop = true;
    if (video.paused) void video.play();
  }, seconds);

for (const version of VERSIONS) {
  test(`Chromium ${version} plays H.264 and VP9, seeks, and plays on from another viewer when the publisher is gone`, async ({ newPeer, newTv }) => {
    const publisher = await newPeer();
    const link = await publisher.share(BUNNY);
    const tv = await newTv(version);
    await tv.go(link);
    await playsOn(tv);
    const size = await tv.run(() => [document.querySelector('video')!.videoWidth, document.querySelector('video')!.videoHeight]);
    expect(size).toEqual([854, 480]);
    const viewer = await newPeer();
    await viewer.open(link);
    await viewer.until('view', (stats) => stats.complete);
    await seek(tv, 24);
    await playsOn(tv, 24);
    await publisher.leave();
    await tv.close();
    const late = await newTv(version);
    await late.go(link);
    await playsOn(late);
    await seek(late, 12);
    await playsOn(late, 12);
    const other = await newPeer();
    const webm = await other.share(await film('vp9-opus.webm'));
    await late.go(webm);
    await playsOn(late);
    await seek(late, 20);
    await playsOn(late, 20);
  });
}

test('an engine that cannot read our scripts says so in one sentence, and one that can does not', async ({ newTv, browserName }) => {
  test.skip(browserName === 'firefox', 'no other browser takes part');
  const tv = (await newTv(79)).allow(/SyntaxError/);
  const seen = (): boolean => {
    const words = document.getElementById('too-old');
    return words !== null && getComputedStyle(words).visibility === 'visible' && /too old for Baton/.test(words.textContent!);
  };
  // As Chromium 60 takes what it has not learnt yet.
  await tv.replace('/assets/*.js', 'a ?= b');
  for (const page of ['/', '/tv']) {
    await tv.go(page);
    await tv.until(seen);
  }
  // An engine without modules runs this script, and need not wait.
  expect(await tv.run(() => document.querySelector('script[nomodule]')!.getAttribute('src'))).toBe('/old.js');
  const good = await newTv(79);
  await good.go('/');
  await good.until(() => document.querySelector('[data-testid=file-input]'));
  expect(await good.run(() => document.getElementById('too-old'))).toBe(null);
});
