/** The button to a television, and the way back from one. What it opens is loaded by the click. */
import { useEffect } from 'preact/hooks';
import { messages } from '../messages';
import { play, seekTo, video } from './playback';

export function PlayOnTv({ link }: { link: string }) {
  useEffect(() => {
    const resume = (): void => takeBack(link);
    resume();
    video.addEventListener('loadeddata', resume);
    window.addEventListener('baton-resume', resume);
    return () => {
      video.removeEventListener('loadeddata', resume);
      window.removeEventListener('baton-resume', resume);
    };
  }, [link]);
  const open = (): void => {
    const wanted = { link, atMs: () => video.currentTime * 1000, left: () => video.pause() };
    void import('../remote/panel').then((part) => part.openPanel(wanted));
  };
  return (
    <button class="button" data-testid="play-on-tv" onClick={open}>
      {messages.watch.playOnTv}
    </button>
  );
}

/** Goes on where the television was: the remote control left the place (remote/session.ts). */
function takeBack(link: string): void {
  let place: { link: string; atMs: number } | null = null;
  try {
    place = JSON.parse(sessionStorage.getItem('baton.resume') ?? 'null');
    if (!place || place.link !== link || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    sessionStorage.removeItem('baton.resume');
  } catch {
    return;
  }
  seekTo(place.atMs / 1000);
  play();
}
