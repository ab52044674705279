/** “Play on TV”: finding a television, and its remote control. Drawn into a sheet over whatever page it was asked for on. */
import { render } from 'preact';
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import styles from './remote.css?url';
import { clock } from '../format';
import { tvMessages } from '../messages-tv';
import { goToLink, linkIn, session } from '../session';
import { MutedIcon, PauseIcon, PlayIcon, VolumeIcon } from '../ui/icons';
import { knownTvs, ownName } from './memory';
import * as remote from './session';
import { Scanner, canScan } from './scan';
import { loadStyle } from './style';
import { Thumb } from './thumb';

const words = tvMessages.remote;

const shown = signal(false);
let sheet: HTMLElement | null = null;

/** Opens the sheet. `wanted`: what is to be played there, if anything. */
export async function openPanel(wanted: remote.Wanted | null): Promise<void> {
  remote.bring(wanted);
  shown.value = true;
  await Promise.all([sheet ? null : loadStyle(styles), remote.begin()]);
  if (!sheet) {
    sheet = document.createElement('div');
    document.body.append(sheet);
    render(<Sheet />, sheet);
  }
}

function Sheet() {
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!shown.value) return undefined;
    root.current?.focus();
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape') shown.value = false;
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [shown.value]);
  if (!shown.value) return null;
  return (
    <div class="rc-sheet" ref={root} tabIndex={-1} role="dialog" aria-label={words.title} data-testid="remote">
      <header class="rc-head">
        <h2>{remote.tv.value ? words.onTv(remote.tv.value.name) : words.title}</h2>
        <button class="rc-close" aria-label={words.close} onClick={() => (shown.value = false)}>
          ×
        </button>
      </header>
      <Panel />
    </div>
  );
}

export function Panel() {
  if (remote.broken.value) return <p class="rc-error" role="alert">{words.lost}</p>;
  if (!remote.tv.value) return remote.busy.value ? <p role="status">{words.connecting}</p> : <Find />;
  return <Remote />;
}

/** Which television: one that is known, or by its code. */
function Find() {
  const field = useRef<HTMLInputElement>(null);
  const known = knownTvs();
  const submit = (event: Event): void => {
    event.preventDefault();
    remote.pair({ code: field.current!.value });
  };
  return (
    <div class="rc-find">
      {known.length > 0 && (
        <>
          <h3>{words.known}</h3>
          {known.map((it) => (
            <button class="button rc-tv" data-testid="known-tv" onClick={() => remote.connect(it)}>
              {it.name}
            </button>
          ))}
          <h3>{words.another}</h3>
        </>
      )}
      <p class="hint">
        {words.open} <strong>{location.host}/tv</strong>
      </p>
      <form class="rc-row" onSubmit={submit}>
        <input
          ref={field}
          class="rc-code"
          data-testid="tv-code"
          type="text"
          maxLength={8}
          autocomplete="off"
          autocapitalize="characters"
          spellcheck={false}
          aria-label={words.code}
          placeholder={words.code}
          onInput={() => (remote.failure.value = '')}
        />
        <button class="button button-main" data-testid="tv-connect" type="submit">
          {words.connect}
        </button>
      </form>
      {canScan() && <Scanner found={(text) => remote.scanned(text)} words={words} style="button" />}
      {remote.failure.value !== '' && (
        <p class="rc-error" role="alert" data-testid="remote-error">
          {remote.failure.value}
        </p>
      )}
    </div>
  );
}

function Remote() {
  const { tv, state, linked, wanted } = remote;
  const it = state.value;
  return (
    <div class="rc-remote" data-testid="remote-control">
      {!linked.value && (
        <p class="rc-error" role="status">
          {it ? words.away(tv.value!.name) : words.connecting}
        </p>
      )}
      {it && wanted.value && <Choice />}
      {it && it.link !== '' ? <Controls /> : it && <Idle />}
      {it && <SendLink />}
      <Names />
    </div>
  );
}

/** Something else plays there already: what is to become of what was brought along? */
function Choice() {
  return (
    <div class="rc-row">
      <button class="button button-main" data-testid="remote-play-now" onClick={remote.playNow}>
        {words.playNow}
      </button>
      <button class="button" data-testid="remote-play-next" onClick={remote.playNext}>
        {words.playNext}
      </button>
    </div>
  );
}

/** It was stopped: this page's film can be sent once more. */
function Idle() {
  const again = (): void => {
    remote.bring(remote.brought.value);
    remote.settle();
  };
  return (
    <>
      <p role="status">{words.phase('idle')}</p>
      {remote.brought.value && (
        <div class="rc-row">
          <button class="button button-main" data-testid="remote-again" onClick={again}>
            {words.playNow}
          </button>
        </div>
      )}
    </>
  );
}

function Controls() {
  const it = remote.state.value!;
  const at = remote.position.value;
  const plays = it.phase === 'playing' || it.phase === 'waiting' || it.phase === 'loading';
  const level = it.muted ? 0 : it.volumePermille;
  return (
    <>
      <p class="rc-title" data-testid="remote-title">{it.title}</p>
      <p class="rc-phase" data-testid="remote-phase" data-phase={it.phase} role="status">
        {words.phase(it.phase)}
        {it.queued > 0 && ` · ${words.queued(it.queued)}`}
      </p>
      <div class="rc-bar">
        <Thumb />
        <input
          class="rc-seek"
          type="range"
          data-testid="remote-seek"
          min="0"
          max={it.durationMs || 1}
          step="1000"
          value={at}
          disabled={it.durationMs === 0}
          aria-label={words.position}
          aria-valuetext={clock(at / 1000)}
          onInput={(event) => remote.drag(Number(event.currentTarget.value))}
          onChange={(event) => remote.seek(Number(event.currentTarget.value))}
        />
      </div>
      <p class="rc-times">
        <span data-testid="remote-time" data-value={at}>{clock(at / 1000)}</span>
        <span>{clock(it.durationMs / 1000)}</span>
      </p>
      <div class="rc-row rc-main">
        <button class="button" data-testid="remote-back" aria-label={words.back10} onClick={() => remote.seek(at - 10_000)}>
          −10
        </button>
        <button class="button button-main rc-play" data-testid="remote-play" aria-label={plays ? words.pause : words.play} onClick={() => remote.say(plays ? 'pause' : 'play')}>
          {plays ? <PauseIcon /> : <PlayIcon />}
        </button>
        <button class="button" data-testid="remote-forward" aria-label={words.forward30} onClick={() => remote.seek(at + 30_000)}>
          +30
        </button>
      </div>
      <div class="rc-row">
        <button
          class="button"
          data-testid="remote-mute"
          aria-label={it.muted ? words.unmute : words.mute}
          onClick={() => remote.say({ volume: { permille: it.volumePermille, muted: !it.muted } })}
        >
          {it.muted ? <MutedIcon /> : <VolumeIcon />}
        </button>
        <input
          class="rc-volume"
          type="range"
          data-testid="remote-volume"
          min="0"
          max="1000"
          step="50"
          value={level}
          aria-label={words.volume}
          onChange={(event) => remote.say({ volume: { permille: Number(event.currentTarget.value), muted: false } })}
        />
      </div>
      <Tracks />
      <div class="rc-row">
        {it.queued > 0 && (
          <button class="button" data-testid="remote-next" onClick={() => remote.say('next')}>
            {words.next}
          </button>
        )}
        <button class="button" data-testid="remote-here" onClick={goOnHere}>
          {words.here}
        </button>
        <button class="button" data-testid="remote-stop" onClick={() => remote.say('stop')}>
          {words.stop}
        </button>
      </div>
    </>
  );
}

function Tracks() {
  const all = remote.tracks.value;
  const sounds = all.filter((it) => !it.subtitles);
  const texts = all.filter((it) => it.subtitles);
  const chosen = (list: typeof all): string => String(list.find((it) => it.selected)?.id ?? '');
  return (
    <>
      {sounds.length > 1 && (
        <label class="rc-row">
          <span>{words.sound}</span>
          <select data-testid="remote-sound" value={chosen(sounds)} onChange={(event) => remote.say({ sound: { id: Number(event.currentTarget.value) } })}>
            {sounds.map((it) => (
              <option value={String(it.id)}>{it.label}</option>
            ))}
          </select>
        </label>
      )}
      {texts.length > 0 && (
        <label class="rc-row">
          <span>{words.subtitles}</span>
          <select
            data-testid="remote-subtitles"
            value={chosen(texts)}
            onChange={(event) => remote.say({ subtitles: { id: event.currentTarget.value === '' ? null : Number(event.currentTarget.value) } })}
          >
            <option value="">{words.off}</option>
            {texts.map((it) => (
              <option value={String(it.id)}>{it.label}</option>
            ))}
          </select>
        </label>
      )}
    </>
  );
}

/** Takes the film back, at its place. */
function goOnHere(): void {
  const link = remote.takeBack();
  if (link === '') return;
  shown.value = false;
  if (session.tv) location.href = link;
  else if (link !== session.link) goToLink(link);
}

function SendLink() {
  const field = useRef<HTMLInputElement>(null);
  const submit = (event: Event): void => {
    event.preventDefault();
    const found = linkIn(field.current!.value);
    remote.failure.value = found ? '' : words.badLink;
    if (!found) return;
    remote.wanted.value = { link: `${found.origin || location.origin}/#${found.fragment}`, atMs: () => 0, left: () => undefined };
    field.current!.value = '';
    remote.settle();
  };
  return (
    <form class="rc-row" onSubmit={submit}>
      <input ref={field} class="rc-link" data-testid="remote-link" type="text" inputMode="url" autocomplete="off" spellcheck={false} aria-label={words.link} placeholder={words.link} />
      <button class="button" data-testid="remote-send" type="submit">
        {words.send}
      </button>
      {remote.failure.value !== '' && <p class="rc-error" role="alert">{remote.failure.value}</p>}
    </form>
  );
}

function Names() {
  const tv = remote.tv.value!;
  const theirs = useRef<HTMLInputElement>(null);
  const ours = useRef<HTMLInputElement>(null);
  const save = (event: Event): void => {
    event.preventDefault();
    remote.rename(theirs.current!.value, ours.current!.value);
  };
  return (
    <details class="rc-names">
      <summary>{words.names}</summary>
      <form onSubmit={save}>
        <label>
          <span>{words.tvName}</span>
          <input ref={theirs} data-testid="remote-tv-name" type="text" maxLength={30} value={tv.name} />
        </label>
        <label>
          <span>{words.ownName}</span>
          <input ref={ours} data-testid="remote-own-name" type="text" maxLength={30} value={ownName()} />
        </label>
        <div class="rc-row">
          <button class="button" data-testid="remote-save" type="submit">
            {words.save}
          </button>
          <button class="button" type="button" onClick={remote.leave}>
            {words.leave}
          </button>
          <button class="button" type="button" data-testid="remote-forget" onClick={remote.forget}>
            {words.forget}
          </button>
        </div>
      </form>
    </details>
  );
}
