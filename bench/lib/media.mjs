// What is measured: films that ffmpeg makes of the test film, and a file of random bytes. Cached under target/media.
import { createHash, randomFillSync } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from './processes.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const source = `${root}tests/media/big-buck-bunny-480p-30s.mp4`;
/** Where they are kept, and served from. */
export const MEDIA = `${root}target/media/bench`;

/**
 * Twice the test film, as 720p at about 2 Mbit/s with a sync sample every 2.3 s: 60 s, 15 MB.
 * So 90 % (54 s) lies 1.3 s behind its sync sample: neither on it nor as far from it as can be.
 */
const FILM = [
  ...['-stream_loop', '1', '-i', source, '-t', '60'],
  ...['-vf', 'scale=-2:720', '-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'high', '-pix_fmt', 'yuv420p'],
  ...['-b:v', '1900k', '-maxrate', '2500k', '-bufsize', '4000k', '-g', '55', '-keyint_min', '55', '-sc_threshold', '0'],
  ...['-c:a', 'aac', '-b:a', '128k'],
];

/** `start` or `end`: where the index (moov) lies. */
export async function film(moov) {
  const flags = moov === 'start' ? ['-movflags', '+faststart'] : [];
  const path = await made(`720p-60s-moov-${moov}`, 'mp4', [...FILM, ...flags], (part) =>
    run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', ...FILM, ...flags, part]),
  );
  return { path, bytes: statSync(path).size, seconds: 60, name: `720p 60 s, moov at the ${moov}` };
}

/** The test film fifteen times over in another container: 64 MB, and no more work than copying. */
export async function longFilm(ending) {
  const words = ['-stream_loop', '14', '-i', source, '-c', 'copy'];
  const path = await made('fifteenfold', ending, [...words, ending], (part) =>
    run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', ...words, part]),
  );
  return { path, name: path.slice(MEDIA.length + 1) };
}

/** Random bytes, so that nothing can be compressed on the way. */
export async function randomFile(megabytes) {
  const path = await made(`random-${megabytes}`, 'bin', [megabytes], (part) => {
    const file = openSync(part, 'w');
    const block = Buffer.alloc(1_000_000);
    for (let at = 0; at < megabytes; at += 1) writeSync(file, randomFillSync(block));
    closeSync(file);
  });
  return { path, bytes: megabytes * 1_000_000 };
}

/** The test film itself: 4 MB. */
export const smallFilm = () => ({ path: source, bytes: statSync(source).size });

/** The test film with a hole behind it: it says that it has so many bytes and occupies 4 MB. */
export async function sparseFilm(bytes) {
  const path = await made(`sparse-${bytes}`, 'mp4', [bytes], async (part) => {
    copyFileSync(source, part);
    truncateSync(part, bytes);
  });
  return { path, bytes };
}

/** The test film at 24 Mbit/s, again and again: a film of so many bytes from its beginning to its end, with the index that it needs. */
export async function hugeFilm(bytes) {
  const coded = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '48', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-b:a', '128k'];
  const filled = ['-b:v', '24M', '-minrate', '24M', '-maxrate', '24M', '-bufsize', '24M', '-x264-params', 'nal-hrd=cbr:filler=1'];
  const words = [...coded, ...filled];
  const once = await made('480p-24mbit', 'mp4', words, (part) => run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', '-i', source, ...words, part]));
  const times = Math.ceil(bytes / statSync(once).size);
  const path = await made(`huge-${bytes}`, 'mp4', [...words, times], (part) =>
    run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', '-stream_loop', times - 1, '-i', once, '-c', 'copy', part]),
  );
  return { path, bytes: statSync(path).size, seconds: 30 * times };
}

/** Makes a file once; its recipe is part of its name, so a changed recipe makes a new one. */
async function made(name, extension, recipe, make) {
  const hash = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 8);
  const path = `${MEDIA}/${name}-${hash}.${extension}`;
  if (existsSync(path)) return path;
  mkdirSync(MEDIA, { recursive: true });
  console.error(`making ${path.slice(root.length)}`);
  const part = `${MEDIA}/part-${process.pid}.${extension}`;
  await make(part);
  renameSync(part, path);
  return path;
}
