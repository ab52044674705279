import { describe, expect, it } from 'vitest';
import { subtitlesOf } from '../src/subtitles';
import { isSubtitles } from '../src/ui/collect';

const file = (path: string, size = 1000) => ({ path, size, playable: /\.(mkv|mp4)$/.test(path) });
const found = (paths: string[], film = 0) =>
  subtitlesOf(paths.map((path) => file(path)), film).map(({ index, language, title, forced }) => [paths[index], language, title, forced]);

describe('subtitle files beside a film', () => {
  it('are known by their endings', () => {
    expect(['a.srt', 'a.VTT', 'b/a.ass', 'a.ssa'].every(isSubtitles)).toBe(true);
    expect(['a.sub', 'srt', 'a.srt.zip', 'a.mkv'].some(isSubtitles)).toBe(false);
  });

  it('are called like it, with a language and what they are for', () => {
    expect(found(['Film.2019.mkv', 'Film.2019.en.srt', 'Film.2019.de.forced.srt', 'Film.2019.srt', 'film.2019_fre.SDH.ass', 'Film.2019.pt-BR.vtt'])).toEqual([
      ['Film.2019.en.srt', 'en', null, false],
      ['Film.2019.de.forced.srt', 'de', null, true],
      ['Film.2019.srt', null, null, false],
      ['film.2019_fre.SDH.ass', 'fre', 'SDH', false],
      ['Film.2019.pt-BR.vtt', 'pt-BR', null, false],
    ]);
    expect(found(['a.mkv', 'a.en.hi.srt', 'a.hi.srt', 'a.English.Commentary.srt'])).toEqual([
      ['a.en.hi.srt', 'en', 'SDH', false],
      ['a.hi.srt', 'hi', null, false],
      ['a.English.Commentary.srt', 'en', 'Commentary', false],
    ]);
  });

  it('of several films go with the one whose name they have', () => {
    const paths = ['S/1.mkv', 'S/10.mkv', 'S/1.en.srt', 'S/10.en.srt', 'S/notes.srt', 'S/Subs/10/2_English.srt', '1.de.srt'];
    expect(found(paths, 0).map(([path]) => path)).toEqual(['S/1.en.srt']);
    expect(found(paths, 1).map(([path, language]) => [path, language])).toEqual([
      ['S/10.en.srt', 'en'],
      ['S/Subs/10/2_English.srt', 'en'],
    ]);
  });

  it('all go with the only film, whatever they are called', () => {
    expect(found(['Some Film.mp4', 'Subs/2_German.srt', 'translation.srt', 'some.release.fr.srt', 'It.2017.srt'])).toEqual([
      ['Subs/2_German.srt', 'de', null, false],
      ['translation.srt', null, 'translation', false],
      ['some.release.fr.srt', 'fr', null, false],
      ['It.2017.srt', null, null, false],
    ]);
  });

  it('are none where they are too large, or no film is played', () => {
    expect(subtitlesOf([file('a.mkv'), file('a.srt', 17 << 20)], 0)).toEqual([]);
    expect(found(['a.srt'], 3)).toEqual([]);
  });
});
