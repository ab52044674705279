/** What engines without modules run: in words of 2009, and it shows the one sentence. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');
const script = read('../public/old.js');

describe('old.js', () => {
  it('has nothing that came after ES5', () => {
    const code = script.replace(/\/\/.*$/gm, '');
    expect(code).not.toMatch(/=>|`|\b(let|const|class|async|await|of|import|export)\b|\.\.\.|\?\.|\?\?|\*\*/);
  });

  it('shows the sentence, whether the page is all there yet or not', () => {
    for (const state of ['loading', 'complete']) {
      const words = { className: 'too-old' };
      let ready = (): void => undefined;
      const document = {
        readyState: state,
        getElementById: (id: string) => (id === 'too-old' ? words : null),
        addEventListener: (name: string, then: () => void) => name === 'DOMContentLoaded' && (ready = then),
      };
      runInNewContext(script, { document });
      if (state === 'loading') {
        expect(words.className).toBe('too-old');
        ready();
      }
      expect(words.className).toBe('too-old too-old-now');
    }
  });

  it('is in every page that has the sentence, for engines without modules alone', () => {
    for (const page of ['index', 'tv', 'embed']) {
      const html = read(`../${page}.html`);
      expect(html).toContain('<script nomodule src="/old.js"></script>');
      expect(html).toContain('id="too-old" class="too-old">%old%</p>');
    }
  });
});
