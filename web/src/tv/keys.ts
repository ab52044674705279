/** The keys of remote controls: by number, because televisions have their own and old engines know no names for them. */
import type { Way } from './focus';

export type Key = Way | 'back' | 'play' | 'pause' | 'toggle' | 'stop' | 'forward' | 'rewind' | 'next';

const KEYS: Record<number, Key> = {
  37: 'left', 38: 'up', 39: 'right', 40: 'down',
  // webOS; Tizen; keyboards; some boxes.
  461: 'back', 10009: 'back', 27: 'back', 166: 'back',
  // CEA-2014, which webOS and HbbTV follow; keyboards with media keys.
  415: 'play', 19: 'pause', 10252: 'toggle', 179: 'toggle', 413: 'stop', 178: 'stop', 417: 'forward', 412: 'rewind',
  // CEA-2014, Tizen, keyboards: the next film of those that wait.
  425: 'next', 10233: 'next', 176: 'next',
}; // prettier-ignore

export const keyOf = (event: KeyboardEvent): Key | null => KEYS[event.keyCode] ?? null;

/** Tizen hands media keys only to pages that ask for them. */
export function askForMediaKeys(): void {
  const { tizen } = window as { tizen?: { tvinputdevice?: { registerKey(name: string): void } } };
  for (const name of ['MediaPlay', 'MediaPause', 'MediaPlayPause', 'MediaStop', 'MediaFastForward', 'MediaRewind', 'MediaTrackNext']) {
    try {
      tizen?.tvinputdevice?.registerKey(name);
    } catch {
      // A model without that key.
    }
  }
}
