/** The player's keys: space k, arrows, j l, m, f, 0–9. They work wherever the focus is, except while one types. */
import { useEffect } from 'preact/hooks';
import { duration, hasPicture, muted, seekTo, setMuted, setVolume, toggleFullscreen, togglePlay, video } from './playback';

export function useKeyboard(stir: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !hasPicture.value) return;
      const target = event.target as HTMLElement;
      const kind = target instanceof HTMLInputElement ? target.type : '';
      if (kind === 'text' || kind === 'checkbox' || target.isContentEditable) return;
      // A focused button keeps its own keys; a focused volume slider those that move it.
      const own = target.closest('button, a, summary') !== null && (event.key === ' ' || event.key === 'Enter');
      const slides = kind === 'range' && target.dataset.testid !== 'seek' && /^(Arrow|Home|End|Page)/.test(event.key);
      if (own || slides || !act(event.key)) return;
      event.preventDefault();
      stir();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}

/** Whether the key means something. */
function act(key: string): boolean {
  switch (key) {
    case ' ':
    case 'k':
    case 'MediaPlayPause':
      togglePlay();
      return true;
    case 'ArrowLeft':
      seekTo(video.currentTime - 5);
      return true;
    case 'ArrowRight':
      seekTo(video.currentTime + 5);
      return true;
    case 'j':
      seekTo(video.currentTime - 10);
      return true;
    case 'l':
      seekTo(video.currentTime + 10);
      return true;
    case 'ArrowUp':
    case 'ArrowDown':
      // On a page that scrolls, these two scroll; in full screen there is nothing to scroll.
      if (!document.fullscreenElement) return false;
      setVolume(video.volume + (key === 'ArrowUp' ? 0.1 : -0.1));
      return true;
    case 'm':
      setMuted(!muted.value);
      return true;
    case 'f':
      toggleFullscreen();
      return true;
    case 'Home':
      seekTo(0);
      return true;
    default:
      if (!/^[0-9]$/.test(key) || !duration.value) return false;
      seekTo((duration.value * Number(key)) / 10);
      return true;
  }
}
