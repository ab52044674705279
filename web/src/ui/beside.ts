/** Subtitle files that lie beside the film: fetched, read and shown when somebody chooses them. */
import type { Meta, Track, View } from '../api';
import { readSubtitles } from '../media';
import { theVideo } from '../session';
import { subtitlesOf, type SubtitleFile } from '../subtitles';
import { BESIDE, type Beside } from './state';

interface Words extends SubtitleFile {
  /** Once it was fetched. */
  track?: TextTrack;
  failed?: boolean;
}

/** Those of a view; `changed` is called when what `tracks` says is another. */
export function besides(view: View, { files }: Meta, changed: () => void): Beside {
  let film: number | null = null;
  let list: Words[] = [];
  let chosen = -1;

  /** A text track cannot be taken away from its element, but emptied. */
  const clear = (): void => {
    for (const { track } of list) if (track) empty(track);
    list = [];
    chosen = -1;
  };
  const show = async (words: Words): Promise<void> => {
    const cues = await view.download(words.index).then(readSubtitles).catch(() => null);
    if (!list.includes(words) || words.track) return;
    if (cues) {
      words.track = theVideo().addTextTrack('subtitles', words.title ?? '', words.language ?? '');
      for (const cue of cues) words.track.addCue(cue);
      words.track.mode = chosen === words.index ? 'showing' : 'disabled';
    } else words.failed = true;
    changed();
  };
  return {
    tracks() {
      const now = view.stats().file;
      if (now !== film) {
        clear();
        film = now;
        list = now === null ? [] : subtitlesOf(files, now);
      }
      return list.map((it) => told(it, files[it.index]!.path, chosen));
    },
    choose(id) {
      chosen = id === null ? -1 : id - BESIDE;
      for (const { index, track } of list) if (track) track.mode = index === chosen ? 'showing' : 'disabled';
      const words = list.find((it) => it.index === chosen);
      if (words && !words.track) void show(words);
    },
    clear,
  };
}

function told({ index, language, title, forced, failed }: Words, path: string, chosen: number): Track {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const codec = name.slice(name.lastIndexOf('.') + 1).toLowerCase();
  return {
    id: BESIDE + index,
    kind: 'subtitles',
    codec,
    language,
    title: title ?? (language === null ? name : null),
    channels: 0,
    forced,
    playable: !failed,
    selected: index === chosen && !failed,
  };
}

function empty(track: TextTrack): void {
  track.mode = 'hidden';
  for (const cue of [...(track.cues ?? [])]) track.removeCue(cue);
  track.mode = 'disabled';
}
