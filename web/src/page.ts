/** Entry of both pages. First the engine, then the user interface: neither waits for the other. */
import { begin, session, theVideo } from './session';

/** Most films show their picture before this; what takes longer wants its words, milliseconds. */
const PATIENCE_MS = 350;

begin();
if (session.link === '') showInterface();
else afterPicture(showInterface);

function showInterface(): void {
  void import('./ui/app');
}

/**
 * Drawing the interface keeps the page's one thread for 40 ms and more, in which no socket and no channel is heard: it
 * waits for the first picture, or for a moment.
 */
function afterPicture(then: () => void): void {
  const video = theVideo();
  const once = (): void => {
    video.removeEventListener('loadeddata', once);
    clearTimeout(timer);
    then();
  };
  const timer = setTimeout(once, PATIENCE_MS);
  video.addEventListener('loadeddata', once);
}
