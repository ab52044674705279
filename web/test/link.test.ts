import { beforeAll, describe, expect, it, vi } from 'vitest';

/** `session` touches the document as soon as it is loaded. */
let linkIn: (text: string) => { origin: string; fragment: string } | null;
beforeAll(async () => {
  vi.stubGlobal('document', { documentElement: { hasAttribute: () => false } });
  vi.doMock('../src/boot', () => ({}));
  ({ linkIn } = await import('../src/session'));
});

const FRAGMENT = 'AbC_-0123456789'.repeat(7);

describe('links in what somebody pastes', () => {
  it('finds a link within a message', () => {
    expect(linkIn(`Look: https://baton.example/#${FRAGMENT} — tonight?`)).toEqual({
      origin: 'https://baton.example',
      fragment: FRAGMENT,
    });
  });

  it('finds one with a port and a query', () => {
    expect(linkIn(`http://192.168.1.5:8080/?wasm=mvp#${FRAGMENT}`)).toEqual({
      origin: 'http://192.168.1.5:8080',
      fragment: FRAGMENT,
    });
  });

  it('takes a fragment alone', () => {
    expect(linkIn(` #${FRAGMENT}\n`)).toEqual({ origin: '', fragment: FRAGMENT });
  });

  it('finds none in other text', () => {
    for (const text of ['', 'hello', 'https://example.org/page', 'https://example.org/#top', '#1']) {
      expect(linkIn(text), text).toBeNull();
    }
  });
});
