/** Draws the page into the places that the HTML keeps for it. */
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { messages } from '../messages';
import { session } from '../session';
import { useLeaveWarning } from './leave';
import { Player } from './player';
import { useRemember } from './remember';
import { SharePage } from './share-lazy';
import { link, meta, shared, startState } from './state';
import { WatchPage } from './watch';

function App() {
  useTitle();
  useLeaveWarning();
  useRemember();
  return link.value === '' ? <SharePage /> : <WatchPage key={link.value} />;
}

/** Beside the brand: the way back to one's own share, or to a first one. */
function TopRight() {
  return link.value !== '' && shared.value ? (
    <p class="top-note">
      <span>{messages.share.stillSharing(shared.value.name)}</span> <a href="#">{messages.share.back}</a>
    </p>
  ) : (
    <>
      {link.value !== '' && (
        <a class="top-link" href="/">
          {messages.watch.shareOwn}
        </a>
      )}
      <a class="top-link" href="/library" {...(shared.value ? { target: '_blank' } : {})}>
        {messages.library}
      </a>
    </>
  );
}

function Deck() {
  return link.value === '' ? null : <Player key={link.value} />;
}

/** Without a link, an embedded page is empty: it is there for the API. */
function EmbedTitle() {
  useTitle();
  return null;
}

function useTitle(): void {
  const name = link.value !== '' ? meta.value?.title : shared.value?.name;
  useEffect(() => {
    document.title = name ?? messages.brand;
  }, [name]);
}

/** Nobody waits for the library, milliseconds. */
const TEND_MS = 3000;

/** Called once. (The televisions' page has this file too, and draws something else.) */
export function draw(): void {
  startState();
  const at = (id: string): HTMLElement => document.getElementById(id)!;
  render(<Deck />, at('deck'));
  if (session.embedded) {
    render(<EmbedTitle />, at('app'));
  } else {
    render(<TopRight />, at('top'));
    render(<App />, at('app'));
    setTimeout(() => import('../library/tend').then((part) => part.tend()).catch(() => undefined), TEND_MS);
  }
}
