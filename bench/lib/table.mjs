// One row per figure: ours, the rivals of the same run, the ratio that the bar is about, the bar, met or not.

const COLUMNS = ['figure', 'ours', 'rivals in the same run', 'ratio', 'bar', 'met'];

/** @typedef {{figure: string, ours: string, rivals: string, ratio: string, bar: string, met: boolean | null}} Row */

/** @param {Row[]} rows */
export function table(rows) {
  const cells = rows.map((row) => [
    row.figure,
    row.ours,
    row.rivals,
    row.ratio,
    row.bar,
    row.met === null ? '–' : row.met ? 'yes' : 'NO',
  ]);
  const widths = COLUMNS.map((name, at) => Math.max(name.length, ...cells.map((line) => line[at].length)));
  const line = (words) => `| ${words.map((word, at) => word.padEnd(widths[at])).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(COLUMNS), rule, ...cells.map(line)].join('\n');
}
