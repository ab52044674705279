/** Which subtitle files of a stream belong to which film, and what their names say. */
import type { FileMeta } from './api';
import { languageCode } from './languages';
import { isSubtitles } from './ui/collect';

export interface SubtitleFile {
  /** In `meta.files`. */
  index: number;
  language: string | null;
  title: string | null;
  forced: boolean;
}

/** Larger ones are not subtitles: karaoke of a whole film has 5 MB. */
const BYTES_MAX = 16 << 20;
/** What a menu has room for. */
const FILES_MAX = 100;

/** The subtitle files of a film: called like it, in a folder called like it, or, of a stream with one film only, all. */
export function subtitlesOf(files: Pick<FileMeta, 'path' | 'size' | 'playable'>[], film: number): SubtitleFile[] {
  const own = files[film];
  if (!own) return [];
  const { folder, stem } = split(own.path);
  const alone = files.every((file, index) => !file.playable || index === film);
  const found: SubtitleFile[] = [];
  for (const [index, { path, size }] of files.entries()) {
    if (!isSubtitles(path) || size > BYTES_MAX || !path.startsWith(folder)) continue;
    const sub = split(path);
    const low = sub.stem.toLowerCase();
    const called = low.startsWith(stem.toLowerCase()) && !/^[a-z0-9]/i.test(low.slice(stem.length));
    const inFolder = sub.folder.toLowerCase().split('/').includes(stem.toLowerCase());
    if (called) found.push({ index, ...described(sub.stem.slice(stem.length), true) });
    else if (inFolder || alone) found.push({ index, ...described(sub.stem, false) });
  }
  return found.slice(0, FILES_MAX);
}

function split(path: string): { folder: string; stem: string } {
  const cut = path.lastIndexOf('/') + 1;
  return { folder: path.slice(0, cut), stem: path.slice(cut).replace(/\.[^.]*$/, '') };
}

/** `.en.forced`, `2_English`, `pt-BR`: language, whether for foreign words only, and what else there is to say. `sure`: nothing but that is in it. */
function described(text: string, sure: boolean): Omit<SubtitleFile, 'index'> {
  const words = text.split(/[\s._()[\]]+/).filter((word) => word !== '');
  const language = words.map((word) => languageOf(word)).filter((code) => code !== null);
  // Films are called so too: `It.2017.srt` is not Italian.
  const last = words[words.length - 1] ?? '';
  const code = sure ? (language.find((it) => it !== 'hi') ?? language[0] ?? null) : languageOf(last) ?? language.find((it) => it.length > 3 || named(words, it)) ?? null;
  const has = (...any: string[]): boolean => words.some((word) => any.includes(word.toLowerCase()));
  const deaf = has('sdh', 'cc') || (has('hi') && code !== 'hi');
  const rest = words.filter((word) => languageOf(word) === null && !/^(forced|sdh|cc|\d+)$/i.test(word)).join(' ');
  return { language: code, title: deaf ? 'SDH' : code !== null && !sure ? null : rest.slice(0, 60) || null, forced: has('forced') };
}

/** Whether a word in full, not a code of two or three letters, named this language. */
const named = (words: string[], code: string): boolean => words.some((word) => word.length > 3 && languageOf(word) === code);

/** `pt-BR` as it is; else the word's. */
function languageOf(word: string): string | null {
  const [code, region, more] = word.split('-');
  if (!region || more !== undefined) return region ? null : languageCode(word);
  return code!.length <= 3 && /^([a-z]{2}|\d{3}|hans|hant)$/i.test(region) && languageCode(code!) ? `${code!.toLowerCase()}-${region}` : null;
}
