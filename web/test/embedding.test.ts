import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');
const page = read('../../docs/embedding.md');
const api = read('../src/api.ts');

describe('docs/embedding.md', () => {
  it('shows only code that the compiler has checked', () => {
    const checked = read('./embedder.check.ts');
    const blocks = [...page.matchAll(/```ts\n([^]*?)```/g)].map((it) => it[1]!.trim());
    expect(blocks.length).toBeGreaterThan(4);
    for (const block of blocks) for (const part of block.split('\n\n')) expect(checked).toContain(part);
  });

  it('names every number that stats() has', () => {
    const fields = (name: string): string[] => {
      const body = new RegExp(`interface ${name}[^{]*\\{([^]*?)\\n\\}`).exec(api)![1]!;
      return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map((it) => it[1]!);
    };
    const names = [...fields('Stats'), ...fields('ShareStats'), ...fields('ViewStats'), ...fields('PeerStats')];
    expect(names.length).toBeGreaterThan(30);
    for (const name of names) expect(page, name).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it('names every problem', () => {
    const codes = [...new Set([.../ProblemCode =([^;]*);/.exec(api)![1]!.matchAll(/'([a-z-]+)'/g)].map((it) => it[1]!))];
    for (const code of codes) expect(page).toContain(`\`${code}\``);
  });
});
