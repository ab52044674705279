// What a film of 8 Mbit/s costs a television: `cargo xtask bench tv`. Numbers, and no test: they are for a quiet machine.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUNNY } from '../lib/media.ts';
import type { Memory, Tv } from '../lib/old_engine.ts';
import { expect, test, type Peer } from '../lib/test.ts';

const FILM = fileURLToPath(new URL('../../target/media/tv-1080p.mp4', import.meta.url));
/** Long enough that everything which is kept is full. */
const SECONDS = 90;
/** Without our page, where nothing fills up. */
const BARE_SECONDS = 30;

/** The short film in 1080p with enough noise in it that 8 Mbit/s are needed, six times over: three minutes. */
function encode(): void {
  if (existsSync(FILM)) return;
  mkdirSync(dirname(FILM), { recursive: true });
  const once = FILM.replace('.mp4', '-once.mp4');
  const picture = ['-vf', 'scale=1920:1080,noise=alls=12:allf=t', '-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'high', '-g', '48'];
  const rate = ['-b:v', '8M', '-minrate', '8M', '-maxrate', '8M', '-bufsize', '8M', '-c:a', 'aac', '-ac', '2', '-b:a', '128k'];
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-i', BUNNY, ...picture, ...rate, once]);
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-stream_loop', '5', '-i', once, '-c', 'copy', '-movflags', '+faststart', FILM]);
  rmSync(once);
}

/** What playing took, in parts of a core: by thread of the page's process and by other process; and how much memory, at most; and what an empty page has. */
interface Played {
  seconds: number;
  page: Map<string, number>;
  others: Map<string, number>;
  most: Memory;
  empty: Memory;
}

/** Lets a film that runs go on for so many seconds of it. */
async function played(tv: Tv, of_s: number): Promise<Played> {
  const at = (): Promise<number> => tv.run(() => document.querySelector('video')!.currentTime);
  const [before, began, from] = [tv.engine.usage(), Date.now(), await at()];
  const most: Memory = { own: 0, share: 0 };
  for (let to = from; to < from + of_s; ) {
    to += 2;
    await tv.until((to) => document.querySelector('video')!.currentTime >= to, to);
    const { page } = tv.engine.usage();
    most.own = Math.max(most.own, page.own);
    most.share = Math.max(most.share, page.share);
  }
  const [after, seconds] = [tv.engine.usage(), (Date.now() - began) / 1000];
  const parts = (now: Map<string, number>, then: Map<string, number>): Map<string, number> =>
    new Map([...now].map(([name, cpu_s]) => [name, (cpu_s - (then.get(name) ?? 0)) / seconds]));
  return { seconds, page: parts(after.page_s, before.page_s), others: parts(after.others_s, before.others_s), most, empty: after.empty };
}

const sum = (parts: Map<string, number>, which: (name: string) => boolean = () => true): number =>
  [...parts].reduce((all, [name, part]) => (which(name) ? all + part : all), 0);
const percent = (part: number): string => `${(100 * part).toFixed(1).padStart(5)} %`;

test('a 1080p film of 8 Mbit/s in Chromium 79', async ({ newPeer, newTv, browserName }) => {
  test.skip(!process.env.BATON_BENCH_TV || browserName === 'firefox', 'cargo xtask bench tv');
  // Three films are played here, and one may have to be made.
  test.setTimeout(900_000);
  encode();
  const size = { width: 1920, height: 1080 };
  // The same film as a file, in a document without scripts: what the engine takes for showing it, whoever fetched it.
  const bare = await newTv(79, { size });
  await bare.go(`file://${FILM}`);
  await bare.until(() => {
    const video = document.querySelector('video');
    if (video) video.controls = false;
    return video && video.currentTime > 3;
  });
  await bare.run(() => {
    const counted = window as unknown as { stalls: number };
    counted.stalls = 0;
    document.querySelector('video')!.addEventListener('waiting', () => (counted.stalls += 1));
  });
  const film = await played(bare, BARE_SECONDS);
  const bareStalls = await bare.run(() => (window as unknown as { stalls: number }).stalls);
  await bare.close();

  const publisher = await newPeer();
  const link = await publisher.share(FILM);
  // It hashes in the background, on the processor that a television has to itself.
  await publisher.until('share', (stats) => stats.phase === 'sharing');
  const tv = await newTv(79, { size });
  await tv.go('/tv');
  const code = await tv.until(() => document.querySelector('[data-testid=tv-code]') && document.querySelector('[data-testid=tv-code]')!.getAttribute('data-code'));
  await publisher.page.getByTestId('play-on-tv').click();
  await publisher.page.getByTestId('tv-code').fill(code);
  await publisher.page.getByTestId('tv-connect').click();
  expect(link).not.toBe('');
  await tv.until(() => document.querySelector('video'));
  await tv.run(() => {
    const video = document.querySelector('video')!;
    const stops: number[] = ((window as unknown as { stops: number[] }).stops = []);
    video.addEventListener('waiting', () => {
      const { buffered, currentTime } = video;
      if (currentTime > 0) stops.push(buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0);
    });
  });
  await tv.until(() => document.querySelector('video')!.currentTime > 3);
  const page = await played(tv, SECONDS);
  const stats = await tv.run(() => (window as unknown as { baton: { view: { stats(): { stalls: number; have: number; size: number; peers: unknown[] } } } }).baton.view.stats());
  const stops = await tv.run(() => (window as unknown as { stops: number[] }).stops);
  // By its old name: Chromium 79 has no other.
  type Counts = { webkitDroppedFrameCount: number; webkitDecodedFrameCount: number };
  const [dropped, all] = await tv.run(() => {
    const counts = document.querySelector('video')! as unknown as Counts;
    return [counts.webkitDroppedFrameCount, counts.webkitDecodedFrameCount];
  });

  console.log(`${page.seconds.toFixed(1)} s of a film of 8 Mbit/s in 1080p in Chromium 79; ${dropped} of ${all} pictures were dropped`);
  console.log('  /tv      bare file');
  const names = [...new Set([...page.page.keys(), ...film.page.keys()])].sort((a, b) => (page.page.get(b) ?? 0) - (page.page.get(a) ?? 0));
  for (const name of names) {
    const [here, there] = [page.page.get(name) ?? 0, film.page.get(name) ?? 0];
    if (here >= 0.005 || there >= 0.005) console.log(`  ${percent(here)}  ${percent(there)}  ${SHOWING.test(name) ? 'showing' : 'page'}: ${name}`);
  }
  for (const [name, part] of page.others) console.log(`  ${percent(part)}  ${percent(film.others.get(name) ?? 0)}  process: ${name}`);
  const own = (parts: Map<string, number>): number => sum(parts, (name) => !SHOWING.test(name));
  const [showing, bareShowing] = [sum(page.page) - own(page.page), sum(film.page) - own(film.page)];
  const everything = (of: Played): number => sum(of.page) + sum(of.others);
  console.log(`  showing takes ${percent(showing)} of a core here and ${percent(bareShowing)} of the bare file: were these far apart, threads would be counted on the wrong side`);
  judge('stalls', stats.stalls, 0, '');
  // A decoder that is too slow for the moment stops the picture as well, whatever is there to decode.
  console.log(`      (${stops.length} stops, with this much of the film there, seconds: ${stops.map((ahead_s) => ahead_s.toFixed(1)).join(' ') || '–'}; of the bare file in ${BARE_SECONDS} s: ${bareStalls})`);
  judge('the page: its own threads', 100 * own(page.page), 50, '% of a core');
  judge('all processes, less what all take for the bare file', 100 * (everything(page) - everything(film)), 50, '% of a core');
  judge('memory of the page, buffers and decoder included', page.most.own / 1e6, 150, 'MB at most');
  const mb = (of: Memory): string => `${(of.own / 1e6).toFixed(0)} MB, with its share of the program ${(of.share / 1e6).toFixed(0)}`;
  console.log(`      (this page: ${mb(page.most)}; the bare file: ${mb(film.most)}; an empty page: ${mb(page.empty)})`);
  judge('of the film kept in memory', (stats.have * stats.size) / 1e6, 15, 'MB');
  judge('connections', stats.peers.length, 8, '');

  const told = await truths(publisher, tv);
  judge('from a tap on the phone to the TV', Math.max(...told.done), 300, 'ms, the longest of ' + told.done.length);
  judge('from a tap on the phone to the truth on the phone', Math.max(...told.shown), 300, 'ms');
  judge('from a key at the TV to the truth on the phone', Math.max(...told.heard), 300, 'ms');
});

/**
 * Threads of the page's process that show a film whoever fetched it: decoding (Chromium calls all of that Media), putting pictures together, drawing,
 * sound. Televisions have hardware for it. All others are the page's: its main thread, its worker, its connections, its sockets.
 */
const SHOWING = /^(Media|VideoFrameCompo|Compositor|AudioOutput)/;

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
