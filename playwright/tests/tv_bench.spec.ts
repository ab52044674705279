// What a film of 8 Mbit/s costs a television: `cargo xtask bench tv`. Numbers, and no test: they are for a quiet machine.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUNNY } from '../lib/media.ts';
import { expect, test } from '../lib/test.ts';

const FILM = fileURLToPath(new URL('../../target/media/tv-1080p.mp4', import.meta.url));
const SECONDS = 40;

/** The short film in 1080p, twice over, with enough noise in it that 8 Mbit/s are needed. */
function encode(): void {
  if (existsSync(FILM)) return;
  mkdirSync(dirname(FILM), { recursive: true });
  const picture = ['-vf', 'scale=1920:1080,noise=alls=12:allf=t', '-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'high', '-g', '48'];
  const rate = ['-b:v', '8M', '-minrate', '8M', '-maxrate', '8M', '-bufsize', '8M', '-c:a', 'aac', '-ac', '2', '-b:a', '128k'];
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-stream_loop', '1', '-i', BUNNY, ...picture, ...rate, '-movflags', '+faststart', FILM]);
}

test('a 1080p film of 8 Mbit/s in Chromium 79', async ({ newPeer, newTv, browserName }) => {
  test.skip(!process.env.BATON_BENCH_TV || browserName === 'firefox', 'cargo xtask bench tv');
  encode();
  const publisher = await newPeer();
  const link = await publisher.share(FILM);
  const tv = await newTv(79, { size: { width: 1920, height: 1080 } });
  await tv.go('/tv');
  const code = await tv.until(() => document.querySelector('[data-testid=tv-code]') && document.querySelector('[data-testid=tv-code]')!.getAttribute('data-code'));
  await publisher.page.getByTestId('play-on-tv').click();
  await publisher.page.getByTestId('tv-code').fill(code);
  await publisher.page.getByTestId('tv-connect').click();
  expect(link).not.toBe('');
  await tv.until(() => document.querySelector('video')!.currentTime > 3);
  const before = tv.engine.usage();
  const began = Date.now();
  const from = await tv.run(() => document.querySelector('video')!.currentTime);
  await tv.until((to) => document.querySelector('video')!.currentTime >= to, from + SECONDS);
  const seconds = (Date.now() - began) / 1000;
  const after = tv.engine.usage();
  const stats = await tv.run(() => (window as unknown as { baton: { view: { stats(): { stalls: number; bytes_received: number; bytes_stored: number } } } }).baton.view.stats());
  const quality = await tv.run(() => document.querySelector('video')!.getVideoPlaybackQuality().droppedVideoFrames);
  const threads = [...after.cpu_s].map(([name, cpu_s]) => [name, (cpu_s - (before.cpu_s.get(name) ?? 0)) / seconds] as const).sort((a, b) => b[1] - a[1]);
  const all = threads.reduce((sum, it) => sum + it[1], 0);
  console.log(`${seconds.toFixed(1)} s of film: ${(100 * all).toFixed(0)} % of a core, decoding without hardware included; ${(after.bytes / 1e6).toFixed(0)} MB; ${stats.stalls} stalls, ${quality} pictures dropped, ${(stats.bytes_received / 1e6).toFixed(0)} MB received, ${(stats.bytes_stored / 1e6).toFixed(0)} MB kept`);
  for (const [name, part] of threads.filter((it) => it[1] >= 0.005)) console.log(`  ${(100 * part).toFixed(1).padStart(5)} %  ${name}`);
});
