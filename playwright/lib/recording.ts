// What a recording of a coded film says: whether there is sound in it, and whether it fits the picture.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DIGIT, SWEEP } from './media.ts';

const SOUND_RATE = 48_000;
/** Over so many samples the tone is measured: 85 ms, in which it rises by 17 Hz. */
const WINDOW = 4096;

/** The second that a piece of sound comes from, in its middle, and how loud it is; `null` where sound does not fill it. */
export function toldTime(wave: Float32Array, rate: number): { at_s: number; level: number } | null {
  const part = (from: number): number => Math.sqrt(wave.subarray(from, from + wave.length / 4).reduce((sum, it) => sum + it * it, 0) / (wave.length / 4));
  const parts = [0, 1, 2, 3].map((i) => part((i * wave.length) / 4));
  if (parts[0]! < 0.01 || Math.min(...parts) < 0.5 * Math.max(...parts)) return null;
  // Half waves between the first and the last passage through zero, each found to a fraction of a sample.
  const zeros: number[] = [];
  for (let i = 1; i < wave.length; i++) {
    const [a, b] = [wave[i - 1]!, wave[i]!];
    if (a < 0 !== b < 0) zeros.push(i - 1 + a / (a - b));
  }
  const hz = ((zeros.length - 1) * rate) / (2 * (zeros.at(-1)! - zeros[0]!));
  return { at_s: (hz - SWEEP.from) / SWEEP.slope, level: parts[0]! };
}

export interface Recorded {
  /** The first and the last second of the film that is heard. */
  from_s: number;
  to_s: number;
  level: number;
  /** How much later in the film the sound is than the picture shown with it, seconds: the middle one of all pictures; `null` without pictures. */
  ahead_s: number | null;
}

/** Reads a recording, with ffmpeg. */
export async function read(path: string, rate: number): Promise<Recorded> {
  const sound = await soundOf(path);
  const told = [...Array(Math.floor(sound.length / WINDOW)).keys()]
    .map((i) => toldTime(sound.subarray(i * WINDOW, (i + 1) * WINDOW), SOUND_RATE))
    .filter((it) => it !== null);
  const pictures = await picturesOf(path);
  const ahead: number[] = [];
  pictures.forEach(({ at_s, number }, i) => {
    if (number < 0 || number === pictures[i - 1]?.number) return;
    const start = Math.round(at_s * SOUND_RATE) - WINDOW / 2;
    const heard = start < 0 || start + WINDOW > sound.length ? null : toldTime(sound.subarray(start, start + WINDOW), SOUND_RATE);
    if (heard) ahead.push(heard.at_s - number / rate);
  });
  const times = told.map((it) => it.at_s);
  return { from_s: times[0] ?? NaN, to_s: times.at(-1) ?? NaN, level: middle(told.map((it) => it.level)) ?? 0, ahead_s: middle(ahead) };
}

export function middle(of: number[]): number | null {
  return of.sort((a, b) => a - b)[Math.floor(of.length / 2)] ?? null;
}

async function soundOf(path: string): Promise<Float32Array> {
  const how = ['-i', path, '-vn', '-ac', '1', '-af', `aresample=${SOUND_RATE}:async=1:first_pts=0`, '-f', 'f32le', '-'];
  const bytes = await output('ffmpeg', ['-v', 'error', ...how]);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~3)));
}

async function picturesOf(path: string): Promise<{ at_s: number; number: number }[]> {
  const { count, height, pictureHeight } = DIGIT;
  const times = await output('ffprobe', ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time', '-of', 'csv=p=0', path]);
  const seconds = times.toString().split('\n').filter((it) => it !== '').map(Number);
  if (seconds.length === 0) return [];
  const digits = `crop=iw:ih*${2 * height}/${pictureHeight}:0:0,scale=${4 * count}:8:flags=area,format=gray`;
  const light = await output('ffmpeg', ['-v', 'error', '-i', path, '-an', '-vsync', 'passthrough', '-vf', digits, '-f', 'rawvideo', '-']);
  // Four by four for each digit, of which the inner ones are not blurred.
  const at = (picture: number, bit: number, row: number): number => light[picture * 32 * count + (4 * row + 1) * 4 * count + 4 * bit + 1] ?? 0;
  return seconds.map((at_s, picture) => {
    let number = 0;
    for (let bit = 0; bit < count; bit++) {
      const difference = at(picture, bit, 0) - at(picture, bit, 1);
      if (Math.abs(difference) < 60) return { at_s, number: -1 };
      if (difference > 0) number += 2 ** bit;
    }
    return { at_s, number };
  });
}

async function output(program: string, args: string[]): Promise<Buffer> {
  const { stdout } = await promisify(execFile)(program, args, { encoding: 'buffer', maxBuffer: 64 << 20 });
  return stdout;
}
