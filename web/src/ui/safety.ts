/** Whether the publisher may leave, in words. Pure. */
import type { Stats } from '../api';
import { messages } from '../messages';

export function safety(stats: Pick<Stats, 'others' | 'complete_peers'> & { paused?: boolean; kept?: boolean }): { safe: boolean; title: string; next: string } {
  const words = messages.safe;
  if (stats.complete_peers > 0) {
    return { safe: true, title: words.safe(stats.complete_peers), next: words.safeNext(stats.complete_peers) };
  }
  if (stats.others >= 1) return { safe: true, title: words.together, next: words.safeNext(2) };
  const title = stats.others > 0 ? words.onlyYou(stats.others) : words.alone;
  const alone = stats.kept ? words.keptNext : words.aloneNext;
  const next = stats.paused ? words.pausedNext : stats.others > 0 ? words.onlyYouNext : alone;
  return { safe: false, title, next };
}
