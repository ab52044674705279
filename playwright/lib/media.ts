// Films and other files to share. All are made by ffmpeg from the one film in tests/media, or by a seeded generator, and kept.
import { blake3 } from '@noble/hashes/blake3.js';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const CACHE = here('../../target/media');

/** Big Buck Bunny, 30 s, 854×480, H.264 and AAC 5.1, moov at the start. */
export const BUNNY = here('../../tests/media/big-buck-bunny-480p-30s.mp4');

/**
 * How each film is made. Every one of 30 s; VP9 is made small, because encoding it is most of the time of a cold run.
 *
 * `foreign-codec`: MPEG-4 part 2, which neither browser plays; `foreign.avi`: neither reads an AVI. `foreign-sound`: AC-3, which neither plays through MediaSource.
 * `colours`: each second has a colour of its own (see `colourAt`), a key frame every 2 s; tells a test which second a picture is from.
 */
const FILMS = {
  'moov-start.mp4': ['-i', BUNNY, '-c', 'copy', '-movflags', '+faststart'],
  'moov-end.mp4': ['-i', BUNNY, '-c', 'copy'],
  'fragmented.mp4': ['-i', BUNNY, '-c', 'copy', '-movflags', '+frag_keyframe+empty_moov+default_base_moof'],
  'vp9-opus.webm': [
    ...['-i', BUNNY, '-vf', 'scale=426:-2', '-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8'],
    ...['-b:v', '400k', '-g', '48', '-row-mt', '1', '-ac', '2', '-c:a', 'libopus', '-b:a', '96k'],
  ],
  'colours.mp4': colours(['-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '30', '-bf', '2', '-c:a', 'aac', '-movflags', '+faststart']),
  'foreign-codec.mp4': ['-i', BUNNY, '-t', '5', '-c:v', 'mpeg4', '-b:v', '800k', '-c:a', 'copy', '-movflags', '+faststart'],
  'foreign.avi': ['-i', BUNNY, '-t', '5', '-c:v', 'mpeg4', '-b:v', '800k', '-c:a', 'mp2', '-ac', '2'],
  'foreign-sound.mp4': ['-i', BUNNY, '-t', '10', '-c:v', 'copy', '-c:a', 'dca', '-strict', '-2', '-movflags', '+faststart'],
  // Six hundred fragments and no index of them.
  'short-fragments.mp4': [
    ...['-i', BUNNY, '-c', 'copy', '-movflags', '+empty_moov+default_base_moof+skip_trailer'],
    ...['-frag_duration', '50000'],
  ],
  'silent.mp4': ['-i', BUNNY, '-c', 'copy', '-an', '-movflags', '+faststart'],
} satisfies Record<string, string[]>;

export type FilmName = keyof typeof FILMS;

function colours(codec: string[]): string[] {
  // Red rises with the second, green falls; noise in the lower half makes it 11 MB, so that seeking has something to skip.
  const picture =
    'color=black:s=640x360:r=24:d=30,format=rgb24,' +
    "geq=r='8*floor(T)+8':g='248-8*floor(T)':b='if(lt(Y,H/2),128,random(1)*255)'";
  return [
    ...['-f', 'lavfi', '-i', picture, '-f', 'lavfi', '-i', 'sine=440:r=48000:d=30', '-pix_fmt', 'yuv420p'],
    ...['-g', '48', '-keyint_min', '48', '-sc_threshold', '0', '-b:a', '96k', ...codec],
  ];
}

/** The colour of `colours.mp4` at a time, as red minus green: 16 more for each second, whatever the codec does to both. */
export function colourAt(seconds: number): number {
  return 16 * Math.floor(seconds) - 240;
}

/** Which second of `colours.mp4` shows this colour. */
export function secondOf([red, green]: [number, number, number]): number {
  return Math.round((red - green + 240) / 16);
}

/** The path of a film, made when it is not there yet. */
export async function film(name: FilmName): Promise<string> {
  return made(name, FILMS[name], async (path) => {
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...FILMS[name], path]);
  });
}

/** A tone of so many seconds. */
export async function song(name: string, seconds: number, codec: string[]): Promise<string> {
  const args = ['-f', 'lavfi', '-i', `sine=440:r=48000:d=${seconds}`, '-ac', '2', ...codec];
  return made(name, args, async (path) => {
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...args, path]);
  });
}

/** Makes every film that is not there yet, one after the other: each takes all cores. */
export async function allFilms(): Promise<void> {
  for (const name of Object.keys(FILMS) as FilmName[]) await film(name);
}

/** What the second subtitle track of `tracked` says, and when, seconds. */
export const WORDS = [
  { from: 1, to: 6, text: 'Un lapin' },
  { from: 11, to: 19, text: 'Un papillon' },
];
/** The tones of its two sound tracks, Hz. */
export const TONES = [440, 1760] as const;

/**
 * Twenty seconds with two sound tracks (English 440 Hz, German 1760 Hz), two subtitle tracks and two chapters, as the ending and the
 * sound codecs want it.
 */
export async function tracked(name: string, sounds: [string, string], subtitles: string): Promise<string> {
  const time = (seconds: number): string => `00:00:${String(seconds).padStart(2, '0')},000`;
  const srt = (texts: string[]): string =>
    WORDS.map((it, i) => `${i + 1}\n${time(it.from)} --> ${time(it.to)}\n${texts[i]}\n`).join('\n');
  const files = {
    'english.srt': srt(['A rabbit', 'A <i>butterfly</i>']),
    'french.srt': srt(WORDS.map((it) => it.text)),
    'chapters.txt':
      ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=10\ntitle=The rabbit\n' +
      '[CHAPTER]\nTIMEBASE=1/1\nSTART=10\nEND=20\ntitle=The butterfly\n',
  };
  const tone = (hz: number): string[] => ['-f', 'lavfi', '-t', '20', '-i', `sine=${hz}:r=48000`];
  const codecs = [
    ...['-map', '0:v', '-map', '1', '-map', '2', '-map', '3', '-map', '4', '-map_chapters', '5', '-c:v', 'copy'],
    ...['-c:a:0', sounds[0], '-c:a:1', sounds[1], '-ac', '2', '-c:s', subtitles, '-strict', '-2'],
    ...['-metadata:s:a:0', 'language=eng', '-metadata:s:a:1', 'language=deu', '-metadata:s:a:1', 'title=Kommentar'],
    ...['-metadata:s:s:0', 'language=eng', '-metadata:s:s:1', 'language=fra'],
  ];
  return made(name, [BUNNY, ...codecs, JSON.stringify(files)], async (path) => {
    const beside = Object.entries(files).map(([file, text]) => {
      const at = join(dirname(path), `${process.pid}-${file}`);
      writeFileSync(at, text);
      return at;
    });
    const inputs = ['-t', '20', '-i', BUNNY, ...tone(TONES[0]), ...tone(TONES[1]), ...beside.flatMap((it) => ['-i', it])];
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...inputs, ...codecs, path]);
  });
}

/** Twenty seconds that say what they are, with a cover of 160 × 90; sound alone where the ending is one of sound. */
export async function tagged(name: string): Promise<string> {
  const names = ['-metadata', 'title=Der Käse', '-metadata', 'artist=Ärzte'];
  const jpeg = join(CACHE, 'cover-160x90.jpg');
  const asAttachment = ['-map', '0', '-c', 'copy', '-attach', jpeg, '-metadata:s:t', 'mimetype=image/jpeg'];
  const asPicture = ['-i', jpeg, ...(name.endsWith('.flac') ? ['-map', '0:a', '-c:a', 'flac'] : ['-map', '0', '-c:a', 'copy'])];
  const last = name.endsWith('.flac') ? 0 : 1;
  const picture = [...asPicture, '-map', '1', '-c:v', 'copy', `-disposition:v:${last}`, 'attached_pic'];
  const words = [...(name.endsWith('.mkv') ? asAttachment : picture), ...names];
  return made(name, [BUNNY, ...words.map((it) => it.replace(CACHE, ''))], async (path) => {
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=s=160x90', '-frames:v', '1', jpeg]);
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', '-t', '20', '-i', BUNNY, ...words, path]);
  });
}

/** ffmpeg's words before the file to make. `CODED` is the film below, other sources are named by whoever asks. */
export type Recipe = string[];

/** Of the film below: how wide one digit is, and how high. */
export const DIGIT = { count: 10, width: 32, height: 48, pictureHeight: 180 };
/** Of the film below: its tone in the beginning, Hz, and how fast it rises, Hz per second. */
export const SWEEP = { from: 300, slope: 200 };

/**
 * 26 s of 25 pictures each. The number of each picture stands in it in binary, lowest digit first, white for one, and below that the same in negative;
 * the tone says what time it is. Nothing is lost on the way here: what is made of it is encoded once.
 */
async function codedMaster(): Promise<string> {
  const { count, width, height } = DIGIT;
  const digit = (bit: number, row: number): string => {
    const on = `mod(floor(n/${2 ** bit})\\,2)`;
    const place = `x=${bit * width}:y=${row * height}:w=${width}:h=${height}`;
    return `drawbox=${place}:color=white:t=fill:enable='${row === 0 ? on : `not(${on})`}'`;
  };
  const digits = [...Array(count).keys()].flatMap((bit) => [digit(bit, 0), digit(bit, 1)]);
  const dark = `drawbox=x=0:y=0:w=${count * width}:h=${2 * height}:color=black:t=fill`;
  const picture = [`testsrc2=s=320x180:r=25:d=26`, dark, ...digits, 'format=yuv420p'].join(',');
  const tone = `aevalsrc='0.4*sin(2*PI*(${SWEEP.from}*t+${SWEEP.slope / 2}*t*t))':s=48000:d=26`;
  const args = ['-f', 'lavfi', '-i', picture, '-f', 'lavfi', '-i', tone, '-c:v', 'ffv1', '-c:a', 'pcm_s16le'];
  return made('coded.mkv', args, async (path) => {
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...args, path]);
  });
}

/** A film made of that one; `sources` are the paths of the others that its recipe names. */
export async function coded(name: string, recipe: Recipe, sources: Map<string, string>): Promise<string> {
  const master = await codedMaster();
  // The paths carry the hashes of what they were made by, so another source is another film.
  const words = recipe.map((word) => (word === 'CODED' ? master : (sources.get(word) ?? word)));
  const names = words.map((word) => (word.startsWith(CACHE) ? word.slice(CACHE.length) : word));
  return made(name, names, async (path) => {
    await promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...words, path]);
  });
}

/**
 * By ffprobe: how much later the first picture of a film is due than the film begins, seconds. It begins with whatever comes first, seen or heard;
 * muxers that write no edit list leave the priming of sound and the reordering of pictures in.
 */
export async function firstPicture(path: string): Promise<number> {
  const [pictures, sounds] = [await packets(path, 'v:0'), await packets(path, 'a:0')];
  const seen = Math.min(...pictures.map((it) => it.at_s));
  const heard = sounds.find((it) => it.at_s + Math.max(it.lasts_s, 0.001) > 0.0005);
  return heard ? Math.max(0, seen - Math.max(0, heard.at_s)) : 0;
}

async function packets(path: string, stream: string): Promise<{ at_s: number; lasts_s: number }[]> {
  const entries = ['-show_entries', 'packet=pts_time,duration_time,flags', '-of', 'compact=p=0'];
  const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', '-select_streams', stream, ...entries, path], { maxBuffer: 1 << 26 });
  const lines = stdout.split('\n').filter((line) => /pts_time=[-\d]/.test(line) && !/flags=.?D/.test(line));
  const number = (line: string, key: string): number => Number(new RegExp(`${key}=([-\\d.]+)`).exec(line)?.[1] ?? 0);
  return lines.map((line) => ({ at_s: number(line, 'pts_time'), lasts_s: number(line, 'duration_time') }));
}

/** A file of bytes that look random and are the same in every run. */
export async function noise(name: string, length: number, seed = 1): Promise<string> {
  return made(name, [String(length), String(seed)], async (path) => {
    const bytes = Buffer.alloc(length);
    let state = seed >>> 0 || 1;
    for (let at = 0; at + 4 <= length; at += 4) {
      // xorshift32 (Marsaglia 2003)
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes.writeUInt32LE(state >>> 0, at);
    }
    writeFileSync(path, bytes);
  });
}

/** A file of zeros of any size that takes no room on the disk. */
export async function sparse(name: string, length: number): Promise<string> {
  return made(name, ['sparse', String(length)], async (path) => {
    writeFileSync(path, '');
    truncateSync(path, length);
  });
}

/** A file of the test's own, under this name in a folder of its own, which the test may change. */
export function ownFile(name: string, bytes: Uint8Array): string {
  const path = join(mkdtempSync(join(tmpdir(), 'baton-')), name);
  writeFileSync(path, bytes);
  return path;
}

/** Plain BLAKE3 in hex, by another implementation than ours: what `b3sum` prints. */
export function b3sum(path: string): string {
  return Buffer.from(blake3(readFileSync(path))).toString('hex');
}

/** SHA-256 of a file or of bytes, in hex. */
export function sha256(source: string | Uint8Array): string {
  return createHash('sha256')
    .update(typeof source === 'string' ? readFileSync(source) : source)
    .digest('hex');
}

/** Keeps `target/media/NAME` under a hash of its recipe; another worker that makes the same file does no harm. */
async function made(name: string, recipe: string[], make: (path: string) => Promise<void>): Promise<string> {
  const words = recipe.map((word) => (word === BUNNY ? `bunny ${statSync(BUNNY).size}` : word));
  const hash = createHash('sha256').update(JSON.stringify(words)).digest('hex').slice(0, 8);
  // The folder carries the hash, so that the file has the name that a test expects to see.
  const path = join(CACHE, hash, name);
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const draft = join(dirname(path), `draft-${process.pid}-${basename(name, extname(name))}${extname(name)}`);
  await make(draft);
  renameSync(draft, path);
  return path;
}
