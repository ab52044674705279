// Films that say in picture and sound where they are: the picture has its number drawn in, the tone rises with time.
import { coded, type Recipe } from './media.ts';

/** Pictures per second of the film that all others are made of. */
export const RATE = 25;
/** Its length, seconds: more than is ever produced ahead of the playhead, so that a jump to its end is one for the media engine. */
export const LENGTH_S = 26;

/** One film of the matrix. */
export interface Coded {
  name: string;
  recipe: Recipe;
  /** What of it must be seen and heard. Sound that only other engines decode leaves the picture, and the page says so. */
  sees: boolean;
  hears: boolean;
  /** Browsers that decode its picture at no price: there the page must say so. */
  foreign?: ('chromium' | 'firefox')[];
  /** Which second of the first film it begins with. */
  from_s: number;
  /** How much later than in that one its sound is, beside its pictures. */
  late_sound_s: number;
  /** How far the place of a picture may be from where ffprobe sees it, seconds: where both may round an edit to another picture. */
  slack_s: number;
  /** Its frames carry no times and it has no index. */
  guesses?: boolean;
  /** Its sound has more than two channels. */
  wide?: boolean;
  /** Whether the picture of this number is in it. */
  has: (number: number) => boolean;
}

type Options = Partial<Omit<Coded, 'name' | 'recipe'>>;

function entry(name: string, args: string, options: Options = {}): Coded {
  const recipe = args.split(/\s+/).filter((word) => word !== '');
  return { name, recipe, sees: true, hears: true, from_s: 0, late_sound_s: 0, slack_s: 0.003, has: () => true, ...options };
}

const H264 = '-c:v libx264 -preset veryfast -g 60 -bf 3';
const AAC = '-c:a aac -b:a 128k';
const BOTH = `-i CODED ${H264} ${AAC}`;
const HEVC = '-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=3:keyint=60';
const VP9 = '-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 400k -g 60';
const VP8 = '-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k -g 60';
const AV1 = '-c:v libsvtav1 -preset 12 -g 60';
const FRAGMENTS = '+empty_moov+default_base_moof';
/** One picture in five is always there, and for eleven in forty all are. */
const sparse = (n: number): boolean => n % 5 === 0 || n % 40 < 11;
const noHevc: Options = { foreign: ['chromium'] };
const deaf: Options = { hears: false };
const blind: Options = { sees: false };

/** `cargo xtask media-matrix` plays all of these in both browsers. */
export const MATRIX: Coded[] = [
  entry('faststart.mp4', `${BOTH} -movflags +faststart`),
  entry('moov-end.mp4', BOTH),
  entry('deep-b.mp4', `-i CODED -c:v libx264 -preset veryfast -g 100 -bf 8 -b_strategy 2 ${AAC}`),
  entry('baseline.mp4', `-i CODED -c:v libx264 -preset veryfast -profile:v baseline -g 50 ${AAC}`),
  entry('negative-offsets.mp4', `${BOTH} -movflags +negative_cts_offsets`),
  entry('all-intra.mp4', `-i CODED -c:v libx264 -preset veryfast -g 1 ${AAC}`),
  entry('variable-rate.mp4', `-i CODED -vf select='not(mod(n\\,5))+lt(mod(n\\,40)\\,11)' -vsync vfr ${H264} ${AAC}`, { has: sparse }),
  entry('cut-start.mp4', '-ss 3.3 -i MADE:moov-end.mp4 -c copy', { from_s: 3.3, slack_s: 0.04 }),
  entry('late-sound.mp4', '-i MADE:moov-end.mp4 -itsoffset 0.7 -i MADE:moov-end.mp4 -map 0:v -map 1:a -c copy', { late_sound_s: 0.7 }),
  entry('late-picture.mp4', '-itsoffset 0.5 -i MADE:moov-end.mp4 -i MADE:moov-end.mp4 -map 0:v -map 1:a -c copy', { late_sound_s: -0.5 }),
  entry('surround.m4v', `-i CODED ${H264} -ac 6 ${AAC}`, { wide: true }),
  entry('phone.3gp', `-i CODED -c:v libx264 -preset veryfast -profile:v baseline -g 50 -ar 44100 -ac 1 ${AAC}`),
  entry('fragments-by-key.mp4', `-i MADE:moov-end.mp4 -c copy -movflags +frag_keyframe${FRAGMENTS}`),
  entry('fragments-indexed.mp4', `-i MADE:moov-end.mp4 -c copy -movflags +frag_keyframe+global_sidx${FRAGMENTS}`),
  entry('fragments-short.mp4', `-i MADE:deep-b.mp4 -c copy -frag_duration 300000 -movflags +skip_trailer${FRAGMENTS}`),
  entry('fragments-dash.mp4', '-i MADE:moov-end.mp4 -c copy -movflags +dash+frag_keyframe+empty_moov+skip_trailer'),
  entry('hevc.mp4', `-i CODED ${HEVC} -tag:v hvc1 ${AAC}`, noHevc),
  entry('av1-opus.mp4', `-i CODED ${AV1} -c:a libopus`),
  entry('vp9-flac.mp4', `-i CODED ${VP9} -c:a flac -strict -2`),
  entry('mp3.mp4', `-i CODED ${H264} -c:a libmp3lame`),
  entry('ac3.mp4', `-i CODED ${H264} -c:a ac3`),
  entry('quicktime.mov', BOTH),
  entry('pcm.mov', `-i CODED ${H264} -c:a pcm_s16le`),
  entry('h264.mkv', BOTH),
  entry('deep-b-opus.mkv', `-i MADE:deep-b.mp4 -c:v copy -c:a libopus`),
  entry('no-index.mkv', '-i MADE:deep-b.mp4 -c copy -live 1'),
  entry('index-in-front.mkv', '-i MADE:moov-end.mp4 -c copy -cues_to_front 1'),
  entry('variable-rate.mkv', '-i MADE:variable-rate.mp4 -c copy', { has: sparse }),
  entry('mp3.mkv', '-i MADE:mp3.mp4 -c copy'),
  entry('vorbis.mkv', `-i MADE:moov-end.mp4 -c:v copy -c:a libvorbis`),
  entry('flac.mkv', `-i MADE:moov-end.mp4 -c:v copy -c:a flac`),
  entry('eac3.mkv', `-i MADE:moov-end.mp4 -c:v copy -c:a eac3`),
  entry('dts.mkv', `-i MADE:moov-end.mp4 -c:v copy -c:a dca -strict -2`, deaf),
  entry('hevc.mkv', '-i MADE:hevc.mp4 -c copy', noHevc),
  entry('vp9-opus.webm', `-i CODED ${VP9} -c:a libopus`),
  entry('vp9-live.webm', '-i MADE:vp9-opus.webm -c copy -live 1 -cluster_time_limit 700'),
  entry('vp8-vorbis.webm', `-i CODED ${VP8} -c:a libvorbis`),
  entry('av1-opus.webm', '-i MADE:av1-opus.mp4 -c copy'),
  entry('h264.ts', '-i MADE:deep-b.mp4 -c copy'),
  entry('h264-mp3.ts', '-i MADE:mp3.mp4 -c copy'),
  entry('camera.m2ts', '-i MADE:moov-end.mp4 -c:v copy -c:a ac3 -mpegts_m2ts_mode 1'),
  entry('camera-aac.m2ts', '-i MADE:moov-end.mp4 -c copy -mpegts_m2ts_mode 1'),
  entry('hevc.ts', '-i MADE:hevc.mp4 -c copy', noHevc),
  entry('sound.m4a', `-i CODED -vn ${AAC}`, blind),
  entry('sound.mp3', '-i CODED -vn -c:a libmp3lame', blind),
  entry('sound.aac', `-i CODED -vn ${AAC}`, { ...blind, guesses: true }),
  entry('sound.flac', '-i CODED -vn -c:a flac', blind),
  entry('sound.opus', '-i CODED -vn -c:a libopus', blind),
  entry('sound.ogg', '-i CODED -vn -c:a libvorbis', blind),
  entry('sound.wav', '-i CODED -vn -c:a pcm_s16le', blind),
];

/** Of these every run of the tests plays each: the most different ones. */
const TEN = [
  'deep-b.mp4',
  'late-sound.mp4',
  'fragments-short.mp4',
  'quicktime.mov',
  'no-index.mkv',
  'variable-rate.mkv',
  'vp9-opus.webm',
  'vp8-vorbis.webm',
  'av1-opus.webm',
  'h264-mp3.ts',
];

/** What this run plays: `cargo xtask media-matrix` all of them. */
export const CHOSEN: Coded[] = process.env.BATON_MATRIX === 'all' ? MATRIX : MATRIX.filter((it) => TEN.includes(it.name));

/** The path of a film, and of those that it is made of. */
export async function codedFilm(film: Coded): Promise<string> {
  const sources = new Map<string, string>();
  for (const word of film.recipe) {
    const from = MATRIX.find((it) => word === `MADE:${it.name}`);
    if (from) sources.set(word, await codedFilm(from));
  }
  return coded(film.name, film.recipe, sources);
}
