/** The television's page: a code to be paired by, and a film, seen from ten feet and commanded by four arrows, OK and Back. */
import { render } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import styles from './tv.css?url';
import { tvMessages } from '../messages-tv';
import { loadStyle } from '../remote/style';
import { Scanner, hasCamera } from '../remote/scan';
import { linkIn } from '../session';
import { Qr } from '../ui/qr';
import { link, startState } from '../ui/state';
import { moveFocus } from './focus';
import { askForMediaKeys, keyOf } from './keys';
import { Film, filmKey } from './film';
import { askForCode, code, forget, left, listen, name, noCode, open, phones, rename, screen } from './state';

export async function draw(): Promise<void> {
  askForMediaKeys();
  startState();
  await loadStyle(styles);
  render(<Page />, document.getElementById('app')!);
  render(<Deck />, document.getElementById('deck')!);
  await listenOn();
}

/** The module may be on a server that is just starting again. */
async function listenOn(): Promise<void> {
  try {
    await listen();
  } catch {
    noCode.value = 'lost';
    setTimeout(() => void listenOn(), AGAIN_MS);
  }
}

const AGAIN_MS = 5000;

const Deck = () => (link.value === '' ? null : <Film key={link.value} />);

function Page() {
  const scope = useRef<HTMLDivElement>(null);
  useKeys(scope);
  // At once: the next key may be on its way.
  useLayoutEffect(() => {
    if (screen.value === 'film') return;
    const first = scope.current?.querySelector<HTMLElement>('[data-first]');
    first?.focus();
  }, [screen.value]);
  if (screen.value === 'film') return null;
  return (
    <div class="tv-page" ref={scope}>
      {screen.value === 'home' ? <Home /> : screen.value === 'link' ? <OpenLink /> : <Settings />}
    </div>
  );
}

/** Keys of all screens: arrows move the focus, Back goes back. */
function useKeys(scope: { current: HTMLElement | null }): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const key = keyOf(event);
      if (!key) return;
      if (screen.value === 'film') {
        if (filmKey(key)) event.preventDefault();
        return;
      }
      const field = event.target instanceof HTMLInputElement ? event.target : null;
      if (key === 'back') {
        // At home, Back belongs to the television: it leaves the page.
        if (screen.value === 'home') return;
        screen.value = 'home';
        event.preventDefault();
      } else if (key === 'left' || key === 'right' || key === 'up' || key === 'down') {
        // In a field the arrows move the caret, where there is something to move over.
        if (field && field.value !== '' && (key === 'left' || key === 'right')) return;
        if (scope.current) moveFocus(scope.current, key);
        event.preventDefault();
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}

const words = tvMessages.home;

function Home() {
  return (
    <div class="tv-home">
      <header class="tv-brand">
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
          <g transform="rotate(-38 16 16)">
            <path class="mark-ink" d="M4.5 12h10v8h-10a4 4 0 0 1 0-8z" />
            <path class="mark-hot" d="M17.5 12h10a4 4 0 0 1 0 8h-10z" />
          </g>
        </svg>
        <span>baton</span>
        <span class="tv-note">
          {location.host} · {words.phones(phones.value.filter((it) => it.here).length)}
        </span>
        <span class="tv-name" data-testid="tv-name">{name.value}</span>
      </header>
      <div class="tv-pair">
        <div class="tv-code-side">
          <h1>{words.title}</h1>
          <ol>
            {words.steps.map((step) => (
              <li>{step}</li>
            ))}
          </ol>
          <Code />
        </div>
        {code.value && (
          <figure class="tv-qr">
            <Qr text={`${location.origin}/tv#${code.value.token}`} />
            <figcaption>{words.scan}</figcaption>
          </figure>
        )}
      </div>
      <nav class="tv-row">
        {left.value ? (
          <button class="tv-button tv-main tv-resume" data-first data-testid="tv-resume" onClick={() => left.value && open(left.value.link, left.value.atMs)}>
            {words.resume(left.value.title)}
          </button>
        ) : null}
        <button class="tv-button" data-first data-testid="tv-link" onClick={() => (screen.value = 'link')}>
          {words.link}
        </button>
        <button class="tv-button" data-testid="tv-settings" onClick={() => (screen.value = 'settings')}>
          {words.settings}
        </button>
      </nav>
    </div>
  );
}

function Code() {
  if (noCode.value) {
    return (
      <div class="tv-no-code" role="status">
        <p>{words.noCode(noCode.value)}</p>
        <button class="tv-button" data-testid="tv-new-code" onClick={askForCode}>
          {words.newCode}
        </button>
      </div>
    );
  }
  if (!code.value) return <p class="tv-code tv-code-wait">{words.waiting}</p>;
  const text = code.value.text;
  return (
    <p class="tv-code" data-testid="tv-code" data-code={text} aria-label={words.codeLabel(text)}>
      <span>{text.slice(0, 3)}</span>
      <span>{text.slice(3)}</span>
    </p>
  );
}

function OpenLink() {
  const field = useRef<HTMLInputElement>(null);
  const bad = useSignal(false);
  const camera = useSignal(false);
  const text = tvMessages.link;
  useEffect(() => {
    void hasCamera().then((it) => (camera.value = it));
  }, []);
  const openIt = (words: string): boolean => {
    const found = linkIn(words);
    if (found) open(`${found.origin || location.origin}/#${found.fragment}`);
    return found !== null;
  };
  const go = (): void => {
    bad.value = !openIt(field.current!.value);
  };
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    go();
  };
  return (
    <form class="tv-card" onSubmit={onSubmit}>
      <h1>{text.title}</h1>
      <input
        ref={field}
        class="tv-field"
        data-first
        data-testid="tv-link-field"
        type="text"
        inputMode="url"
        autocomplete="off"
        spellcheck={false}
        aria-label={text.label}
        onInput={() => (bad.value = false)}
      />
      <p class="tv-hint" role={bad.value ? 'alert' : undefined}>
        {bad.value ? text.bad : text.hint}
      </p>
      <div class="tv-row">
        <button class="tv-button tv-main" data-testid="tv-link-open" type="submit">
          {text.open}
        </button>
        {camera.value && <Scanner found={openIt} words={text} style="tv-button" />}
        <button class="tv-button" type="button" onClick={() => (screen.value = 'home')}>
          {text.cancel}
        </button>
      </div>
    </form>
  );
}

function Settings() {
  const field = useRef<HTMLInputElement>(null);
  const text = tvMessages.settings;
  const save = (event: Event): void => {
    event.preventDefault();
    rename(field.current!.value);
  };
  return (
    <div class="tv-card">
      <h1>{text.title}</h1>
      <form class="tv-row" onSubmit={save}>
        <input ref={field} class="tv-field" data-testid="tv-name-field" type="text" maxLength={30} value={name.value} aria-label={text.name} />
        <button class="tv-button" type="submit">
          {text.save}
        </button>
      </form>
      <h2>{text.phones}</h2>
      {phones.value.length === 0 && <p class="tv-hint">{text.none}</p>}
      <ul class="tv-phones">
        {phones.value.map((phone) => (
          <li key={phone.id} class="tv-row">
            <span class="tv-phone">
              {phone.label || text.unnamed}
              {phone.here && <small> · {text.here}</small>}
            </span>
            <button class="tv-button" data-testid="tv-forget" aria-label={text.forgetPhone(phone.label || text.unnamed)} onClick={() => forget(phone.id)}>
              {text.forget}
            </button>
          </li>
        ))}
      </ul>
      <div class="tv-row">
        <button class="tv-button tv-main" data-first data-testid="tv-back" onClick={() => (screen.value = 'home')}>
          {text.back}
        </button>
      </div>
    </div>
  );
}

