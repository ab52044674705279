/** A problem in two sentences: what is the matter, and what happens next (with its countdown). */
import { useEffect, useState } from 'preact/hooks';
import type { Problem } from '../api';
import { messages, problemDetail, problemText } from '../messages';
import { PasteLink } from './paste-link';

export function ProblemNote({ problem, where }: { problem: Problem; where: 'stage' | 'bar' | 'page' }) {
  const text = problemText(problem, useCountdown(problem), where === 'bar');
  return (
    <div class={`problem problem-${where}`} data-testid="error" data-code={problem.code} role="alert">
      {where === 'stage' && (
        <svg class="dropped" viewBox="0 0 72 40" aria-hidden="true">
          <path class="dropped-lane" d="M0 38h72" />
          <g transform="rotate(14 36 24)">
            <path class="mark-ink" d="M12 18h21v12h-21a6 6 0 0 1 0-12z" />
            <path class="mark-hot" d="M38 18h21a6 6 0 0 1 0 12h-21z" />
          </g>
        </svg>
      )}
      <div class="problem-words">
        <p class="problem-title">{text.title}</p>
        <p class="problem-next">{text.next}</p>
        {problem.detail && !SAID.has(problem.code) && <p class="problem-detail">{problemDetail(problem.detail)}</p>}
      </div>
      {where !== 'bar' && problem.code === 'bad-link' && <PasteLink />}
      {(problem.code === 'engine-stopped' || (where !== 'bar' && RELOADS.has(problem.code))) && (
        <button class="button" onClick={() => location.reload()}>
          {messages.watch.reload}
        </button>
      )}
    </div>
  );
}

/** What a newer page may mend. */
const RELOADS = new Set<Problem['code']>(['wrong-version', 'server-refused']);
/** Their sentences say it all. */
const SAID = new Set<Problem['code']>(['bad-link', 'nobody-here', 'all-paused']);

/** Whole seconds until the next attempt, counted down here between snapshots. */
function useCountdown(problem: Problem): number | null {
  const { code, retry_s } = problem;
  const [left, setLeft] = useState<number | null>(null);
  useEffect(() => {
    if (retry_s === undefined) {
      setLeft(null);
      return;
    }
    const due = performance.now() + retry_s * 1000;
    const tick = (): void => setLeft(Math.max(0, Math.ceil((due - performance.now()) / 1000)));
    tick();
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [code, retry_s]);
  return retry_s === undefined ? null : (left ?? Math.ceil(retry_s));
}
