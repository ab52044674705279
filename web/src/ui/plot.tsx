/** Speeds of up to two minutes as two lines: in and out. */
import { rate } from '../format';
import { panelMessages } from '../messages-panels';
import { samples, SAMPLES_KEPT, type Sample } from './state';

export function Plot({ down }: { down: boolean }) {
  const kept = samples.value;
  const span = spanOf(kept.length);
  const top = niceTop(Math.max(MIN_TOP, ...kept.map((it) => Math.max(down ? it.down : 0, it.up))));
  return (
    <figure class="plot">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="plot-grid" d={`M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
        {down && <path class="plot-fill" d={area(kept, (it) => it.down, top, span)} />}
        {!down && <path class="plot-fill plot-fill-up" d={area(kept, (it) => it.up, top, span)} />}
        {down && <path class="plot-line plot-down" d={line(kept, (it) => it.down, top, span)} />}
        <path class="plot-line plot-up" d={line(kept, (it) => it.up, top, span)} />
      </svg>
      <figcaption>
        <span>{rate(top)}</span>
        <span>{panelMessages.span(span)}</span>
      </figcaption>
    </figure>
  );
}

/** The newest sample stands at the right edge. */
export function line(kept: Sample[], value: (it: Sample) => number, top: number, span: number): string {
  return kept
    .map((it, i) => {
      const x = WIDTH - ((kept.length - 1 - i) * WIDTH) / (span - 1);
      const y = HEIGHT - (value(it) / top) * (HEIGHT - 4) - 1;
      return `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

function area(kept: Sample[], value: (it: Sample) => number, top: number, span: number): string {
  if (kept.length < 2) return '';
  const left = WIDTH - ((kept.length - 1) * WIDTH) / (span - 1);
  return `${line(kept, value, top, span)}L${WIDTH} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}z`;
}

/** The next 1, 2 or 5 × 10ⁿ, so that the scale is readable and does not jump with each sample. */
export function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/** Seconds across: the first half minute is not a dash at the edge of two empty ones. */
export const spanOf = (samples: number): number => (samples <= 30 ? 30 : samples <= 60 ? 60 : SAMPLES_KEPT);

const WIDTH = 480;
const HEIGHT = 120;
/** Below 100 kB/s the plot would magnify noise. */
const MIN_TOP = 100_000;
