/** Languages by the words that files have for them. */

/** Matroska writes ISO 639-2's bibliographic codes, which browsers do not know. */
const OLD: Record<string, string> = {
  alb: 'sq', arm: 'hy', baq: 'eu', bur: 'my', chi: 'zh', cze: 'cs', dut: 'nl', fre: 'fr', geo: 'ka', ger: 'de', gre: 'el', ice: 'is',
  mac: 'mk', mao: 'mi', may: 'ms', per: 'fa', rum: 'ro', slo: 'sk', tib: 'bo', wel: 'cy',
}; // prettier-ignore

/** For Chromium before 81, as televisions have it, and for names of files. */
const COMMON: Record<string, string> = {
  en: 'English', de: 'German', fr: 'French', es: 'Spanish', it: 'Italian', pt: 'Portuguese', nl: 'Dutch', pl: 'Polish', ru: 'Russian',
  ja: 'Japanese', zh: 'Chinese', ko: 'Korean', tr: 'Turkish', ar: 'Arabic', sv: 'Swedish', da: 'Danish', no: 'Norwegian', fi: 'Finnish',
  cs: 'Czech', hu: 'Hungarian', el: 'Greek', he: 'Hebrew', hi: 'Hindi', ro: 'Romanian', uk: 'Ukrainian', vi: 'Vietnamese', th: 'Thai', id: 'Indonesian',
  eng: 'English', deu: 'German', ger: 'German', fra: 'French', fre: 'French', spa: 'Spanish', ita: 'Italian', por: 'Portuguese',
  nld: 'Dutch', dut: 'Dutch', pol: 'Polish', rus: 'Russian', jpn: 'Japanese', zho: 'Chinese', chi: 'Chinese', kor: 'Korean',
}; // prettier-ignore

/** `deu` is German, in the reader's own language where the browser knows. */
export function languageName(code: string | null): string {
  if (!code) return '';
  try {
    const names = new Intl.DisplayNames(undefined, { type: 'language' });
    return names.of(OLD[code] ?? code) ?? code;
  } catch {
    return COMMON[code] ?? code;
  }
}

/** The code for a word: `en`, `ger`, `English`; `null` if it is none of a language. */
export function languageCode(word: string): string | null {
  const low = word.toLowerCase();
  if (COMMON[low] || OLD[low]) return low;
  const named = Object.keys(COMMON).find((code) => COMMON[code]!.toLowerCase() === low);
  if (named) return named;
  if (!/^[a-z]{2,3}$/.test(low)) return null;
  try {
    return new Intl.DisplayNames(['en'], { type: 'language', fallback: 'none' }).of(low) ? low : null;
  } catch {
    return null;
  }
}
