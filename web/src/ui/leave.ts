/** The browser asks before it closes, as long as closing would lose the stream: on every page, also while one watches another's. */
import { useLayoutEffect } from 'preact/hooks';
import type { ShareStats } from '../api';
import { FINAL } from '../messages';
import { baton } from '../session';
import { safety } from './safety';
import { shareStats } from './state';

/** Whether what is shared this very moment would be lost to the others if it stopped. */
export const isRisky = (): boolean => risks(baton.share?.stats() ?? null);

function risks(stats: ShareStats | null): boolean {
  const dead = stats?.problem && FINAL.has(stats.problem.code);
  return stats !== null && !dead && stats.phase !== 'stopped' && !safety(stats).safe;
}

export function useLeaveWarning(): void {
  const risky = risks(shareStats.value);
  // Not after the next paint: the page says that it is safe to close, and must not ask all the same.
  useLayoutEffect(() => {
    if (!risky) return;
    const warn = (event: BeforeUnloadEvent): void => {
      event.preventDefault();
      event.returnValue = '';
    };
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [risky]);
}
