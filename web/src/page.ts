/** Entry of all pages. First the engine, then the user interface: neither waits for the other. */
import { begin, session, theVideo } from './session';

/** Most films show their picture before this; what takes longer wants its words, milliseconds. */
const PATIENCE_MS = 350;
/** What the engine has for itself before files of the interface come, each of which takes a moment of the page's thread, milliseconds. */
const ENGINE_MS = 100;
/** After the picture, milliseconds: the decoder, and whoever jumps at once, have the first moment (it took 0.07 s from such a jump). */
const MOMENT_MS = 300;

if (session.tv && location.hash.length > 1) {
  // A telephone's camera read what the television shows: nothing is watched here.
  document.getElementById('too-old')?.remove();
  void import('./remote/page').then(({ draw }) => draw());
} else {
  begin();
  if (session.tv) void import('./tv/main').then(({ draw }) => draw());
  else if (session.link === '') {
    fetchInterface();
    // It would be found last.
    if (location.pathname === '/') void import('./ui/share').catch(() => undefined);
    showInterface();
  } else {
    setTimeout(fetchInterface, ENGINE_MS);
    afterPicture(showInterface);
  }
}

/** All of it at once, while there is a server: importing would find one file after the other. (vite.config.ts puts them into the page.) */
function fetchInterface(): void {
  for (const link of document.querySelectorAll<HTMLLinkElement>('link[rel=later]')) link.rel = 'modulepreload';
}

function showInterface(): void {
  void (location.pathname === '/library' ? import('./library/page') : import('./ui/app')).then(({ draw }) => draw());
}

/**
 * Drawing the interface keeps the page's one thread for 40 ms and more, in which no socket and no channel is heard: it
 * waits for the first picture and a moment more, or for no longer than a person should.
 */
function afterPicture(then: () => void): void {
  const video = theVideo();
  const once = (): void => {
    video.removeEventListener('loadeddata', once);
    clearTimeout(timer);
    // Its code at once: the server may be gone a moment later.
    import('./ui/app').catch(() => undefined);
    setTimeout(then, MOMENT_MS);
  };
  const timer = setTimeout(() => {
    video.removeEventListener('loadeddata', once);
    then();
  }, PATIENCE_MS);
  video.addEventListener('loadeddata', once);
}
