/** The player: our own controls over the one `<video>`, and what to say while there is no picture. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { messages, NOTES } from '../messages';
import { session } from '../session';
import { Controls } from './controls';
import { PlayIcon, VolumeIcon } from './icons';
import { Tags } from './about-lazy';
import { Playlist } from './files-lazy';
import { useKeyboard } from './keyboard';
import { autoplay, fullscreen, hasPicture, paused, seekTo, setMuted, soundOnly, toggleFullscreen, togglePlay, usePlayback, video, waiting } from './playback';
import { ProblemNote } from './problem';
import { isFile, meta, problem, said, viewStats } from './state';
import { useMediaSession, useWakeLock } from './system';

export function Player() {
  usePlayback();
  useWakeLock();
  useMediaSession();
  const { deck, awake, stir, doze } = useAwake();
  useKeyboard(stir);
  // A stream that no player shows has its card instead; the stage is gone.
  if (isFile.value && !session.embedded) return null;

  const idle = !awake.value && !paused.value && hasPicture.value && !soundOnly.value;
  return (
    <div
      ref={deck}
      class={`deck${idle ? ' deck-idle' : ''}${fullscreen.value ? ' deck-full' : ''}`}
      role="group"
      aria-label={messages.player.label}
      onPointerMove={(event) => event.pointerType === 'mouse' && stir()}
      onPointerLeave={(event) => event.pointerType === 'mouse' && doze()}
      onFocusCapture={stir}
    >
      <Picture awake={awake.value} stir={stir} doze={doze} />
      {soundOnly.value && <Sound />}
      <Overlay />
      {hasPicture.value && <Controls stir={stir} />}
      {hasPicture.value && <Later />}
      {meta.value?.folder && <Playlist />}
    </div>
  );
}

/** Above the picture and below the controls: takes clicks and taps. */
function Picture({ awake, stir, doze }: { awake: boolean; stir: () => void; doze: () => void }) {
  const tap = useRef({ at: 0, x: 0 });
  // Chromium 79 does not say with a click what made it.
  const by = useRef('mouse');
  const onTap = (event: PointerEvent): void => {
    by.current = event.pointerType;
    if (event.pointerType === 'mouse' || !hasPicture.value) return;
    const last = tap.current;
    tap.current = { at: event.timeStamp, x: event.clientX };
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    if (event.timeStamp - last.at < 300 && Math.abs(event.clientX - last.x) < 60 && Math.abs(across - 0.5) > 0.15) {
      seekTo(video.currentTime + (across < 0.5 ? -10 : 10));
      stir();
    } else if (awake) doze();
    else stir();
  };
  return (
    <div
      class="picture"
      onPointerUp={onTap}
      onClick={() => by.current === 'mouse' && hasPicture.value && togglePlay()}
      onDblClick={() => by.current === 'mouse' && toggleFullscreen()}
    />
  );
}

function Overlay() {
  const trouble = problem.value;
  if (!hasPicture.value) {
    return (
      <div class="overlay">
        {trouble ? <ProblemNote problem={trouble} where="stage" /> : <Loading />}
      </div>
    );
  }
  if (autoplay.value === 'refused' && paused.value) {
    return (
      <div class="overlay overlay-through">
        <button class="big-play" aria-label={messages.player.play} onClick={togglePlay}>
          <PlayIcon />
        </button>
      </div>
    );
  }
  return (
    <>
      {autoplay.value === 'muted' && (
        <button class="sound-on" data-testid="unmute" onClick={() => setMuted(false)}>
          <VolumeIcon />
          <span>{messages.player.soundOn}</span>
        </button>
      )}
      {waiting.value && (!trouble || NOTES.has(trouble.code)) && <Buffering />}
      {(session.embedded || fullscreen.value) && trouble && <ProblemNote problem={trouble} where="bar" />}
    </>
  );
}

/** Says at which stage the start is; after a while, that it takes long. */
function Loading() {
  const stats = viewStats.value;
  const phase = stats?.phase ?? 'starting';
  const slow = useSlow(phase, 8000);
  const text = messages.watch.status(phase === 'playing' || phase === 'complete' ? 'fetching' : phase, meta.value?.playable ?? true);
  return (
    <div class="loading">
      <Runner />
      <p class="loading-text" data-testid="status" role="status">
        {text}
      </p>
      {slow && <p class="loading-slow">{messages.watch.slow}</p>}
    </div>
  );
}

function Buffering() {
  const shown = useSlow('buffering', 500);
  const slow = useSlow('slow', 10_000);
  if (!shown) return null;
  return (
    <div class="overlay overlay-through">
      <div class="loading loading-over">
        <Runner />
        <p class="loading-text">{messages.watch.buffering}</p>
        {slow && <p class="loading-slow">{messages.watch.slow}</p>}
      </div>
    </div>
  );
}

/** What nobody waits for comes when the film runs. */
const Later = () => (useSlow('later', 2000) ? <Tags /> : null);

/** In place of a picture. */
const Sound = () => (
  <div class="overlay overlay-through sound" aria-hidden="true">
    {said.value?.cover ? <img src={said.value.cover} alt="" /> : <VolumeIcon />}
    <p>{said.value?.title ?? meta.value?.title}</p>
  </div>
);

/** A baton on its lane. */
const Runner = () => (
  <div class="runner" aria-hidden="true">
    <i />
  </div>
);

function useSlow(what: string, after_ms: number): boolean {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    setSlow(false);
    const timer = setTimeout(() => setSlow(true), after_ms);
    return () => clearTimeout(timer);
  }, [what]);
  return slow;
}

/** Controls show while somebody stirs, and for a while after. */
function useAwake() {
  const deck = useRef<HTMLDivElement>(null);
  const awake = useSignal(true);
  const timer = useRef(0);
  const doze = (): void => {
    clearTimeout(timer.current);
    // Whoever goes by the keyboard must see where they are.
    if (showsFocus(deck.current)) timer.current = window.setTimeout(doze, AWAKE_MS);
    else awake.value = false;
  };
  const stir = (): void => {
    awake.value = true;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(doze, AWAKE_MS);
  };
  useEffect(() => {
    stir();
    return () => clearTimeout(timer.current);
  }, []);
  return { deck, awake, stir, doze };
}

/** Whether the focus is in there and was brought there by keys. Chromium 79 does not tell the two apart: there it counts. */
function showsFocus(deck: HTMLElement | null): boolean {
  const focused = document.activeElement;
  if (!deck || !focused || !deck.contains(focused)) return false;
  try {
    return focused.matches(':focus-visible');
  } catch {
    return true;
  }
}

const AWAKE_MS = 2600;
