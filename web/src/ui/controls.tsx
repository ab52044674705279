/** The bar of controls: play, where we are and what is here, sound, picture in picture, full screen. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Film } from '../api';
import { clock } from '../format';
import { messages } from '../messages';
import { session } from '../session';
import { FullIcon, MutedIcon, PauseIcon, PipIcon, PlayIcon, UnfullIcon, VolumeIcon } from './icons';
import { buffered, canPip, duration, fullscreen, muted, paused, seekTo, setMuted, setVolume, time, toggleFullscreen, togglePip, togglePlay, volume, type Range } from './playback';
import { film, meta, viewStats } from './state';
import { Thumb } from './thumbs-lazy';
import { ChapterMarks, TracksMenu } from './tracks-lazy';

export function Controls({ stir }: { stir: () => void }) {
  const scrub = useSignal<number | null>(null);
  const all = duration.value || meta.value?.duration_s || 0;
  const now = scrub.value ?? time.value;
  const words = messages.player;
  return (
    <div class="controls" onPointerDown={stir}>
      <Seek now={now} all={all} scrub={scrub} />
      <div class="control-row">
        <button class="control" data-testid="play" aria-label={paused.value ? words.play : words.pause} onClick={togglePlay}>
          {paused.value ? <PlayIcon /> : <PauseIcon />}
        </button>
        <button class="control" aria-label={muted.value ? words.unmute : words.mute} onClick={() => setMuted(!muted.value)}>
          {muted.value ? <MutedIcon /> : <VolumeIcon />}
        </button>
        <Volume />
        <span class="time">
          {clock(now)} <span class="time-all">/ {clock(all)}</span>
        </span>
        <span class="control-space" />
        {session.embedded && (
          <a class="control-link" href={session.link} target="_blank" rel="noopener">
            {words.openFull}
          </a>
        )}
        {hasChoice(film.value) && <TracksMenu />}
        {canPip() && (
          <button class="control control-pip" aria-label={words.pip} onClick={togglePip}>
            <PipIcon />
          </button>
        )}
        <button class="control" aria-label={fullscreen.value ? words.leaveFullscreen : words.fullscreen} onClick={toggleFullscreen}>
          {fullscreen.value ? <UnfullIcon /> : <FullIcon />}
        </button>
      </div>
    </div>
  );
}

/** More than one sound, or words to read. */
function hasChoice(what: Film | null): boolean {
  const can = (kind: string): number => what?.tracks.filter((it) => it.kind === kind && it.playable).length ?? 0;
  return can('audio') > 1 || can('subtitles') > 0;
}

function Volume() {
  const level = muted.value ? 0 : volume.value;
  return (
    <span class="volume">
      <span class="volume-track" aria-hidden="true">
        <i style={{ width: `${level * 100}%` }} />
      </span>
      <input
        type="range"
        min="0"
        max="1"
        step="0.05"
        value={level}
        aria-label={messages.player.volume}
        onInput={(event) => setVolume(Number(event.currentTarget.value))}
      />
    </span>
  );
}

/**
 * The seek bar: a native slider (keyboard, touch and screen readers for free) over a lane that shows what the
 * browser has ready (bright) and what is on this computer (dim).
 */
function Seek({ now, all, scrub }: { now: number; all: number; scrub: { value: number | null } }) {
  const settle = useRef(0);
  const hover = useSignal<number | null>(null);
  useEffect(() => () => clearTimeout(settle.current), []);

  const commit = (seconds: number): void => {
    clearTimeout(settle.current);
    scrub.value = null;
    seekTo(seconds);
  };
  const onInput = (event: Event): void => {
    const slider = event.currentTarget as HTMLInputElement;
    const seconds = Number(slider.value);
    scrub.value = seconds;
    clearTimeout(settle.current);
    // Whoever holds the thumb still for a moment sees that place; each seek costs the swarm a fetch.
    settle.current = window.setTimeout(() => {
      seekTo(seconds);
      if (!slider.matches(':active')) scrub.value = null;
    }, 200);
  };
  const at = all > 0 ? now / all : 0;
  // What somebody points at, or drags to.
  const aim = all > 0 ? (scrub.value !== null ? at : hover.value) : null;
  const ready = all > 0 ? buffered.value.map(([from, to]): Range => [from / all, to / all]) : [];
  return (
    <div
      class="seek"
      onPointerMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const across = (event.clientX - box.left - THUMB / 2) / (box.width - THUMB);
        hover.value = event.pointerType === 'mouse' ? Math.max(0, Math.min(1, across)) : null;
      }}
      onPointerLeave={() => (hover.value = null)}
    >
      <span class="seek-lane" aria-hidden="true">
        {(viewStats.value?.have_ranges ?? []).map((range) => <Stretch kind="had" range={range} />)}
        {ready.map((range) => <Stretch kind="ready" range={range} />)}
        <Stretch kind="played" range={[0, at]} />
        {film.value && film.value.chapters.length > 1 && <ChapterMarks all={all} hover={aim} />}
        <i class="seek-thumb" style={{ left: `${at * 100}%` }} />
        {aim !== null && (
          <span class="seek-tip" style={{ left: `${aim * 100}%` }}>
            {clock(aim * all)}
          </span>
        )}
        {aim !== null && <Thumb at_s={aim * all} left={aim} />}
      </span>
      <input
        type="range"
        data-testid="seek"
        min="0"
        max={all || 1}
        step="any"
        value={now}
        disabled={all === 0}
        aria-label={messages.player.seek}
        aria-valuetext={messages.player.position(clock(now), clock(all))}
        onInput={onInput}
        onChange={(event) => commit(Number(event.currentTarget.value))}
      />
    </div>
  );
}

function Stretch({ kind, range: [from, to] }: { kind: string; range: Range }) {
  return <i class={`stretch stretch-${kind}`} style={{ left: `${from * 100}%`, width: `${Math.max(0, to - from) * 100}%` }} />;
}

/** Width of the slider's thumb in CSS pixels, as style.css has it. */
const THUMB = 16;
