// What a film of 8 Mbit/s costs a television: `cargo xtask bench tv`. Numbers, and no test: they are for a quiet machine.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUNNY } from '../lib/media.ts';
import type { Tv } from '../lib/old_engine.ts';
import { expect, test, type Peer } from '../lib/test.ts';

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
  const stats = await tv.run(() => (window as unknown as { baton: { view: { stats(): { stalls: number; bytes_verified: number; peers: unknown[] } } } }).baton.view.stats());
  const quality = await tv.run(() => document.querySelector('video')!.getVideoPlaybackQuality().droppedVideoFrames);
  const threads = [...after.cpu_s].map(([name, cpu_s]) => [name, (cpu_s - (before.cpu_s.get(name) ?? 0)) / seconds] as const).sort((a, b) => b[1] - a[1]);
  const part = (which: (name: string) => boolean): number => threads.reduce((sum, it) => (which(it[0]) ? sum + it[1] : sum), 0);
  const [decoding, page] = [part((name) => DECODERS.test(name)), part((name) => !DECODERS.test(name))];
  console.log(`${seconds.toFixed(1)} s of a film of 8 Mbit/s in 1080p, played by Chromium 79; decoding without hardware took ${(100 * decoding).toFixed(0)} % of a core beside, ${quality} pictures were dropped`);
  for (const [name, part] of threads.filter((it) => it[1] >= 0.005)) console.log(`  ${(100 * part).toFixed(1).padStart(5)} %  ${name}`);
  judge('stalls', stats.stalls, 0, '');
  judge('the page without its decoder', 100 * page, 50, '% of a core');
  judge('memory of the page, buffers and decoder included', after.bytes / 1e6, 150, 'MB');
  judge('of the film kept in memory', stats.bytes_verified / 1e6, 63, 'MB');
  judge('connections', stats.peers.length, 8, '');

  const told = await truths(publisher, tv);
  judge('from a tap on the phone to the TV', Math.max(...told.done), 300, 'ms, the longest of ' + told.done.length);
  judge('from a tap on the phone to the truth on the phone', Math.max(...told.shown), 300, 'ms');
  judge('from a key at the TV to the truth on the phone', Math.max(...told.heard), 300, 'ms');
});

/** Threads that a television has hardware for. */
const DECODERS = /^(Media|VideoFrameCompo|AudioOutput)/;

function judge(what: string, is: number, most: number, unit: string): void {
  console.log(`${is <= most ? 'pass' : 'MISS'}  ${what}: ${is.toFixed(is < 10 && is > 0 ? 1 : 0)} ${unit} (at most ${most})`);
}

/** How long it takes, milliseconds, until both ends are at one: ten times paused and played by the phone, ten times by the TV. One clock: both are on this machine. */
async function truths(phone: Peer, tv: Tv): Promise<{ done: number[]; shown: number[]; heard: number[] }> {
  const [done, shown, heard]: number[][] = [[], [], []];
  // What happens is noted when it happens, not when somebody asks.
  await tv.run(() => {
    const video = document.querySelector('video')!;
    const note = (window as unknown as { note: { is: string; at: number; key: number } }).note = { is: '', at: 0, key: 0 };
    ['pause', 'play'].forEach((name) => video.addEventListener(name, () => ((note.is = name), (note.at = Date.now()))));
    document.addEventListener('keydown', () => (note.key = Date.now()), true);
  });
  await phone.page.evaluate(() => {
    const line = document.querySelector<HTMLElement>('[data-testid=remote-phase]')!;
    const note = ((window as unknown as { note: { is: string; at: number; tap: number } }).note = { is: '', at: 0, tap: 0 });
    new MutationObserver(() => ((note.is = line.dataset.phase!), (note.at = Date.now()))).observe(line, { attributes: true, attributeFilter: ['data-phase'] });
    document.addEventListener('click', () => (note.tap = Date.now()), true);
  });
  const onPhone = (phase: string): Promise<{ at: number; tap: number }> =>
    phone.page.waitForFunction((phase) => {
      const { note } = window as unknown as { note: { is: string; at: number; tap: number } };
      return note.is === phase && { ...note };
    }, phase).then((it) => it.jsonValue() as Promise<{ at: number; tap: number }>);
  const onTv = (is: string): Promise<{ at: number; key: number }> =>
    tv.until((is) => {
      const note = (window as unknown as { note: { is: string; at: number; key: number } }).note;
      return note.is === is ? note : null;
    }, is);
  for (let round = 0; round < 10; round++) {
    const [is, phase] = round % 2 === 0 ? (['pause', 'paused'] as const) : (['play', 'playing'] as const);
    await phone.page.getByTestId('remote-play').click();
    const [there, here] = [await onTv(is), await onPhone(phase)];
    done!.push(there.at - here.tap);
    shown!.push(here.at - here.tap);
  }
  for (let round = 0; round < 10; round++) {
    const [is, phase] = round % 2 === 0 ? (['pause', 'paused'] as const) : (['play', 'playing'] as const);
    await tv.key(is);
    const [there, here] = [await onTv(is), await onPhone(phase)];
    heard!.push(here.at - there.key);
  }
  return { done: done!, shown: shown!, heard: heard! };
}
