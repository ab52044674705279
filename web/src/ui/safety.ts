/** Whether the publisher may leave, in words. Pure. */
import type { Stats } from '../api';
import { messages } from '../messages';

export function safety(stats: Pick<Stats, 'others' | 'complete_peers'>): { safe: boolean; title: string; next: string } {
  const words = messages.safe;
  if (stats.complete_peers > 0) {
    return { safe: true, title: words.safe(stats.complete_peers), next: words.safeNext(stats.complete_peers) };
  }
  if (stats.others >= 1) return { safe: true, title: words.together, next: words.safeNext(2) };
  if (stats.others > 0) return { safe: false, title: words.onlyYou(stats.others), next: words.onlyYouNext };
  return { safe: false, title: words.alone, next: words.aloneNext };
}
