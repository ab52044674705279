/** What this page shares is written down for a later one, and forgotten when the person stops it. */
import { useEffect } from 'preact/hooks';
import { baton, session } from '../session';
import { isKept, problem, shareStats, shareUrl } from './state';

export function useRemember(): void {
  const url = shareUrl.value;
  // Before that the key cannot be used. A file that changed stays changed.
  const stored = (shareStats.value?.bytes_stored ?? 0) > 0 && problem.value?.code !== 'file-changed';
  useEffect(() => {
    const { share } = baton;
    const what = session.shared;
    if (!stored || !share || !what) return;
    const kept = import('../kept').then(async (door) => {
      const { key, folder } = share;
      const { name, size, count, inFolder, handles } = what;
      const id = door.idOf(share);
      // Not the files: a browser copies all of them, as long as they are.
      isKept.value = await door.remember({ id, key, folder, name, size, count, inFolder, handles, at: Date.now() });
      return () => door.forget({ id, folder });
    });
    // Leaving the page does not come here.
    return () => {
      isKept.value = false;
      kept.then((forget) => forget()).catch(() => undefined);
    };
  }, [url, stored]);
}
