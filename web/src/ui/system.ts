/** The film in the system: the screen stays on while it plays, and the system's media keys work. */
import { useEffect } from 'preact/hooks';
import { paused, play, seekTo, video } from './playback';
import { meta, said } from './state';

export function useWakeLock(): void {
  const playing = !paused.value;
  useEffect(() => {
    if (!playing || !('wakeLock' in navigator) || !isAllowed('screen-wake-lock')) return;
    let lock: WakeLockSentinel | null = null;
    let over = false;
    const take = (): void => {
      if (document.visibilityState !== 'visible') return;
      navigator.wakeLock.request('screen').then(
        (taken) => {
          if (over) void taken.release();
          else lock = taken;
        },
        () => undefined, // battery saver says no
      );
    };
    take();
    // The browser lets go of it when the tab is hidden.
    document.addEventListener('visibilitychange', take);
    return () => {
      over = true;
      document.removeEventListener('visibilitychange', take);
      lock?.release().catch(() => undefined);
    };
  }, [playing]);
}

/** Whether the page that frames us lets us; asking in vain prints an error. Only Chromium tells, and only Chromium prints. */
function isAllowed(feature: string): boolean {
  const policy = (document as { featurePolicy?: { allowsFeature(feature: string): boolean } }).featurePolicy;
  return policy?.allowsFeature(feature) ?? true;
}

/** On the lock screen and beside the media keys: what the file says of itself, or else what its publisher called it. */
export function useMediaSession(): void {
  const title = meta.value?.title;
  const now = said.value;
  useEffect(() => {
    const media = navigator.mediaSession;
    if (!media || !title || typeof MediaMetadata !== 'function') return;
    media.metadata = new MediaMetadata({
      title: now?.title ?? title,
      artist: now?.artist ?? '',
      album: now?.album ?? '',
      artwork: now?.cover ? [{ src: now.cover }] : [],
    });
    const on = (action: MediaSessionAction, handler: MediaSessionActionHandler): void => {
      try {
        media.setActionHandler(action, handler);
      } catch {
        // an action that this browser does not know
      }
    };
    on('play', play);
    on('pause', () => video.pause());
    on('seekbackward', () => seekTo(video.currentTime - 10));
    on('seekforward', () => seekTo(video.currentTime + 10));
    on('seekto', (details) => details.seekTime !== undefined && seekTo(details.seekTime));
  }, [title, now]);
}
