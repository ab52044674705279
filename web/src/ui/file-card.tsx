/** What is no film: a card with its name, how far it is, and Download. */
import type { Meta, ViewStats } from '../api';
import { bytes, rate, wholePercent } from '../format';
import { messages } from '../messages';
import { CopyButton } from './copy';
import { DownloadButton } from './save-lazy';
import { link } from './state';

export function FileCard({ what, stats }: { what: Meta; stats: ViewStats | null }) {
  const have = stats?.have ?? 0;
  const left = stats && stats.down_bps > 0 ? ((1 - have) * what.size) / stats.down_bps : NaN;
  // The publisher may come to know it after we came.
  const blake3 = stats?.blake3 ?? what.blake3;
  const whole = stats?.complete ?? false;
  const facts = whole
    ? [messages.file.whole(what.size)]
    : [
        messages.file.progress(have * what.size, what.size),
        stats && stats.down_bps > 0 ? rate(stats.down_bps) : '',
        messages.file.left(left),
      ];
  return (
    <section class="file-card">
      <div class="file-sheet" aria-hidden="true">
        <span>{extension(what.name)}</span>
      </div>
      <div class="file-words">
        <h1 class="name">{what.title}</h1>
        <p class="facts">
          {!whole && stats && (
            <span class="fact" data-testid="status" role="status">
              {messages.watch.status(stats.phase, false)}
            </span>
          )}
          {facts.filter((fact) => fact !== '').map((fact) => (
            <span class="fact" {...(whole ? { 'data-testid': 'status', role: 'status' } : {})}>
              {fact}
            </span>
          ))}
        </p>
        <div class="lane lane-wide" role="progressbar" aria-valuemin={0} aria-valuemax={100} aria-valuenow={wholePercent(have)} aria-label={bytes(what.size)}>
          <i style={{ width: `${have * 100}%` }} />
        </div>
        <div class="row">
          <DownloadButton what={what} primary />
          <CopyButton text={link.value} />
        </div>
        {blake3 && (
          <p class="file-hash">
            {messages.share.blake3} <code data-testid="blake3">{blake3}</code>
          </p>
        )}
      </div>
    </section>
  );
}

/** At most five letters, as they stand on the sheet. */
function extension(name: string): string {
  const found = /\.([A-Za-z0-9]{1,5})$/.exec(name);
  return found ? found[1]!.toLowerCase() : '';
}
