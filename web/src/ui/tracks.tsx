/** The menu of sound tracks and subtitles, and the chapters' marks on the seek bar. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Track } from '../api';
import { languageName } from '../languages';
import { messages } from '../messages';
import { choose, film } from './state';
import './tracks.css';

const words = messages.player;

type Kind = 'audio' | 'subtitles';

export function TracksMenu() {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const onPress = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) open.value = false;
    };
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.key === 'c' && !event.ctrlKey && !event.metaKey && !event.altKey && target.tagName !== 'INPUT') toggleSubtitles();
    };
    document.addEventListener('pointerdown', onPress);
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('pointerdown', onPress);
      document.removeEventListener('keydown', onKey);
    };
  }, []);
  const close = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape' || !open.value) return;
    open.value = false;
    event.stopPropagation();
    root.current?.querySelector('button')?.focus();
  };
  return (
    <div class="tracks" ref={root} onKeyDown={close}>
      <button
        class="control"
        data-testid="tracks"
        aria-label={words.tracks}
        aria-haspopup="true"
        aria-expanded={open.value}
        onClick={() => (open.value = !open.value)}
      >
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M3 5h18v14H3zm2 2v10h14V7zm1.5 6.5h4v1.8h-4zm5.5 0h5.5v1.8H12zm-5.5-3.4H13v1.8H6.5zm8 0h3v1.8h-3z" />
        </svg>
      </button>
      {open.value && (
        <div class="tracks-menu" data-testid="tracks-menu">
          <Choice kind="audio" title={words.sound} />
          <Choice kind="subtitles" title={words.subtitles} />
        </div>
      )}
    </div>
  );
}

function Choice({ kind, title }: { kind: Kind; title: string }) {
  const tracks = playable(kind);
  if (tracks.length === 0) return null;
  const chosen = tracks.find((it) => it.selected);
  const option = (id: number | null, label: string, on: boolean) => (
    <label class="tracks-option" key={id}>
      <input type="radio" name={`tracks-${kind}`} checked={on} onChange={() => choose(kind, id)} />
      <span>{label}</span>
    </label>
  );
  return (
    <fieldset class="tracks-group">
      <legend>{title}</legend>
      {kind === 'subtitles' && option(null, words.noSubtitles, !chosen)}
      {tracks.map((it, i) => option(it.id, trackName(it, i), it === chosen))}
    </fieldset>
  );
}

const playable = (kind: Kind): Track[] => (film.value?.tracks ?? []).filter((it) => it.kind === kind && it.playable);

let last: number | null = null;

/** Key `c`: the subtitles that were shown last, or the first ones. */
function toggleSubtitles(): void {
  const tracks = playable('subtitles');
  const chosen = tracks.find((it) => it.selected);
  if (chosen) last = chosen.id;
  choose('subtitles', chosen ? null : (tracks.find((it) => it.id === last) ?? tracks[0])?.id ?? null);
}

export function trackName(track: Track, index: number): string {
  const parts = [languageName(track.language), track.title, surround(track.channels), track.forced ? words.forced : ''];
  return [...new Set(parts.filter((part) => part))].join(', ') || words.track(index + 1);
}

/** Five loudspeakers and one for the deep notes are 5.1. */
const surround = (channels: number): string => (channels > 5 ? `${channels - 1}.1` : '');

/** `hover`: the place under the pointer, 0 to 1. */
export function ChapterMarks({ all, hover }: { all: number; hover: number | null }) {
  const chapters = film.value?.chapters ?? [];
  const under = hover === null ? undefined : chapters.filter((it) => it.start_s <= hover * all).pop();
  return (
    <>
      {chapters
        .filter((it) => it.start_s > 0 && it.start_s < all)
        .map((it) => (
          <i class="chapter" data-testid="chapter" style={{ left: `${(it.start_s / all) * 100}%` }} />
        ))}
      {under?.title && (
        <span class="seek-tip chapter-tip" style={{ left: `${hover! * 100}%` }}>
          {under.title}
        </span>
      )}
    </>
  );
}
