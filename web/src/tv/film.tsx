/** A film on the television: controls that come with a key and go by themselves. */
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { clock } from '../format';
import { messages, FINAL } from '../messages';
import { tvMessages } from '../messages-tv';
import { PauseIcon, PlayIcon } from '../ui/icons';
import { autoplay, buffered, duration, hasPicture, muted, paused, play, seekTo, setMuted, time, togglePlay, usePlayback, video, waiting } from '../ui/playback';
import { ProblemNote } from '../ui/problem';
import { choose, film, meta, problem, viewStats } from '../ui/state';
import { useMediaSession, useWakeLock } from '../ui/system';
import { trackName } from '../ui/tracks';
import { moveFocus } from './focus';
import type { Key } from './keys';
import { snapAt } from './snaps';
import { next, queue, sender, stop } from './state';

const words = tvMessages.film;

/** Whether the controls are there. */
const shown = signal(true);
/** The list of sound tracks and subtitles is open. */
const menu = signal(false);
/** Where the person is going with the arrows, seconds. */
const target = signal<number | null>(null);

const SHOWN_MS = 5000;
/** A jump is made when the arrow rests: each costs the swarm a fetch. */
const SETTLE_MS = 400;
let hiding = 0;
let settling = 0;
let steps = 0;

/** Shows the controls, for a while. */
function stir(): void {
  shown.value = true;
  clearTimeout(hiding);
  hiding = window.setTimeout(() => {
    if (menu.value || paused.value || target.value !== null) stir();
    else shown.value = false;
  }, SHOWN_MS);
}

const deck = (): HTMLElement | null => document.querySelector('.tv-deck');
const focusOn = (test: string): void => document.querySelector<HTMLElement>(`[data-testid="${test}"]`)?.focus();

/** What a key does while a film is there. False: nothing of ours. */
export function filmKey(key: Key): boolean {
  if (key === 'play') play();
  else if (key === 'pause') video.pause();
  else if (key === 'toggle') togglePlay();
  else if (key === 'stop') stop();
  else if (key === 'forward') step(30);
  else if (key === 'rewind') step(-10);
  else if (key === 'next') next();
  else if (key === 'back') back();
  else arrow(key);
  if (key !== 'back') stir();
  return true;
}

function back(): void {
  if (menu.value) {
    menu.value = false;
    focusOn('tv-tracks');
  } else if (shown.value && hasPicture.value && !paused.value) {
    shown.value = false;
    (document.activeElement as HTMLElement | null)?.blur();
  } else stop();
}

function arrow(key: 'left' | 'right' | 'up' | 'down'): void {
  const focused = document.activeElement;
  const onBar = focused !== null && focused.getAttribute('data-testid') === 'tv-seek';
  if (!shown.value || onBar) {
    if (key === 'left' || key === 'right') {
      if (!shown.value) focusOn('tv-seek');
      step(key === 'left' ? -10 : 10);
      return;
    }
    // From the bar, which is as wide as all of them, to the first.
    if (!shown.value || key === 'down') {
      focusOn('tv-play');
      return;
    }
  }
  const scope = menu.value ? document.querySelector('.tv-menu') : deck();
  if (scope) moveFocus(scope, key);
}

/** One step along the film; whoever keeps pressing goes faster. */
function step(seconds: number): void {
  if (!hasPicture.value) return;
  steps += 1;
  const faster = steps > 12 ? 6 : steps > 5 ? 3 : 1;
  const end = duration.value || Infinity;
  target.value = Math.max(0, Math.min(end - 1, (target.value ?? video.currentTime) + seconds * faster));
  clearTimeout(settling);
  settling = window.setTimeout(() => {
    if (target.value !== null) seekTo(target.value);
    target.value = null;
    steps = 0;
  }, SETTLE_MS);
}

export function Film() {
  usePlayback();
  useWakeLock();
  useMediaSession();
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    menu.value = false;
    target.value = null;
    stir();
    // OK, while no control has the focus: the same as on the first one.
    const onKey = (event: KeyboardEvent): void => {
      if (event.keyCode !== 13) return;
      const inside = deck()?.contains(document.activeElement);
      const was = shown.value;
      stir();
      if (was && inside) return;
      event.preventDefault();
      if (hasPicture.value) togglePlay();
      focusOn('tv-play');
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
  useLayoutEffect(() => {
    if (hasPicture.value) first.current?.focus();
  }, [hasPicture.value]);

  const trouble = problem.value;
  const all = duration.value || (meta.value && meta.value.duration_s) || 0;
  const now = target.value ?? time.value;
  return (
    <div class={`tv-deck${shown.value || !hasPicture.value ? '' : ' tv-hidden'}`} role="group" aria-label={messages.player.label}>
      {!hasPicture.value && (
        <div class="tv-start">
          {trouble ? <ProblemNote problem={trouble} where="stage" /> : <Loading />}
          <Cancel />
        </div>
      )}
      {hasPicture.value && waiting.value && <p class="tv-waiting" role="status">{messages.watch.buffering}</p>}
      {hasPicture.value && trouble && FINAL.has(trouble.code) && <ProblemNote problem={trouble} where="bar" />}
      {hasPicture.value && autoplay.value === 'muted' && (
        <button class="tv-button tv-sound" data-testid="unmute" onClick={() => setMuted(false)}>
          {messages.player.soundOn}
        </button>
      )}
      {hasPicture.value && (
        <div class="tv-controls" data-testid="tv-controls" aria-hidden={!shown.value}>
          <h1>{meta.value ? meta.value.title : ''}</h1>
          {sender.value !== '' && <p class="tv-from">{words.from(sender.value)}</p>}
          <Seek now={now} all={all} />
          <div class="tv-row">
            <button ref={first} class="tv-button tv-main tv-round" data-testid="tv-play" aria-label={paused.value ? words.play : words.pause} onClick={togglePlay}>
              {paused.value ? <PlayIcon /> : <PauseIcon />}
            </button>
            <button class="tv-button" data-testid="tv-rewind" aria-label={words.back10} onClick={() => step(-10)}>
              −10
            </button>
            <button class="tv-button" data-testid="tv-forward" aria-label={words.forward30} onClick={() => step(30)}>
              +30
            </button>
            {hasChoice() && (
              <button class="tv-button" data-testid="tv-tracks" onClick={() => (menu.value = true)}>
                {words.tracks}
              </button>
            )}
            {queue.value.length > 0 && (
              <button class="tv-button" data-testid="tv-next" onClick={next}>
                {words.next}
              </button>
            )}
            <button class="tv-button" data-testid="tv-stop" onClick={stop}>
              {words.stop}
            </button>
            {muted.value && <span class="tv-note">{words.muted}</span>}
            <span class="tv-time" data-testid="tv-time">
              {clock(now)} <span>/ {clock(all)}</span>
            </span>
          </div>
        </div>
      )}
      {menu.value && <Menu />}
    </div>
  );
}

/** Before there is a picture: the one thing to do. */
function Cancel() {
  const button = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => button.current?.focus(), []);
  return (
    <button ref={button} class="tv-button" data-testid="tv-cancel" onClick={stop}>
      {words.stop}
    </button>
  );
}

function Loading() {
  const stats = viewStats.value;
  const phase = stats ? stats.phase : 'starting';
  return (
    <div class="tv-loading">
      <div class="runner" aria-hidden="true">
        <i />
      </div>
      <p role="status" data-testid="status">
        {messages.watch.status(phase === 'playing' || phase === 'complete' ? 'fetching' : phase, true)}
      </p>
    </div>
  );
}

/** Where we are: left and right go along it. */
function Seek({ now, all }: { now: number; all: number }) {
  const part = (seconds: number): string => `${all > 0 ? (100 * Math.min(seconds, all)) / all : 0}%`;
  return (
    <div
      class="tv-seek"
      data-testid="tv-seek"
      tabIndex={0}
      role="slider"
      aria-label={words.position}
      aria-valuemin={0}
      aria-valuemax={Math.round(all)}
      aria-valuenow={Math.round(now)}
      aria-valuetext={messages.player.position(clock(now), clock(all))}
    >
      <span class="tv-lane">
        {buffered.value.map(([from, to]) => (
          <i class="tv-ready" style={{ left: part(from), width: part(to - from) }} />
        ))}
        <i class="tv-played" style={{ left: 0, width: part(now) }} />
        <i class="tv-thumb" style={{ left: part(now) }} />
        {target.value !== null && <Glance at={target.value} left={part(now)} />}
      </span>
    </div>
  );
}

/** What was seen at the place that the person is going to. */
function Glance({ at, left }: { at: number; left: string }) {
  const snap = snapAt(at * 1000);
  const picture = useRef<HTMLImageElement>(null);
  useLayoutEffect(() => {
    if (!snap || !picture.current) return undefined;
    const url = URL.createObjectURL(new Blob([snap.jpeg as Uint8Array<ArrayBuffer>], { type: 'image/jpeg' }));
    picture.current.src = url;
    return () => URL.revokeObjectURL(url);
  }, [snap]);
  return snap ? <img class="tv-glance" data-testid="tv-glance" data-at={snap.atMs} ref={picture} alt="" style={{ left }} /> : null;
}

const of = (kind: string) => (film.value ? film.value.tracks : []).filter((it) => it.kind === kind && it.playable);
const hasChoice = (): boolean => of('audio').length > 1 || of('subtitles').length > 0;

function Menu() {
  useLayoutEffect(() => document.querySelector<HTMLElement>('.tv-menu button')?.focus(), []);
  const subtitles = of('subtitles');
  return (
    <div class="tv-menu" data-testid="tv-menu">
      <section>
        <h2>{words.sound}</h2>
        {of('audio').map((it, i) => (
          <Option label={trackName(it, i)} on={it.selected} choose={() => choose('audio', it.id)} />
        ))}
      </section>
      {subtitles.length > 0 && (
        <section>
          <h2>{words.subtitles}</h2>
          <Option label={words.off} on={!subtitles.some((it) => it.selected)} choose={() => choose('subtitles', null)} />
          {subtitles.map((it, i) => (
            <Option label={trackName(it, i)} on={it.selected} choose={() => choose('subtitles', it.id)} />
          ))}
        </section>
      )}
    </div>
  );
}

const Option = ({ label, on, choose }: { label: string; on: boolean; choose: () => void }) => (
  <button class="tv-option" aria-pressed={on} onClick={choose}>
    {label}
  </button>
);
