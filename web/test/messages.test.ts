import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ProblemCode } from '../src/api';
import { FINAL, messages, problemText } from '../src/messages';
import { safety } from '../src/ui/safety';

/** As the API declares them: the test fails when a code is added without its sentence. */
const api = readFileSync(fileURLToPath(new URL('../src/api.ts', import.meta.url)), 'utf8');
const codes = [.../ProblemCode =([^;]*);/.exec(api)![1]!.matchAll(/'([a-z-]+)'/g)].map((it) => it[1] as ProblemCode);

describe('problems', () => {
  it('every code has two sentences that a person understands', () => {
    expect(codes).toHaveLength(16);
    for (const code of codes) {
      const { title, next } = problemText({ code }, null);
      for (const sentence of [title, next]) {
        expect(sentence, code).toMatch(/^[A-Z].{15,}[.]$/);
        expect(sentence, code).not.toMatch(/undefined|null|NaN|error code|exception|WASM|WebRTC|swarm/i);
      }
    }
  });

  it('counts down to the next attempt where there is one', () => {
    expect(problemText({ code: 'nobody-here' }, 12).next).toContain('Looking again in 12 s.');
    expect(problemText({ code: 'server-lost' }, 3).next).toContain('Trying again in 3 s.');
    expect(problemText({ code: 'server-lost' }, 0).next).toContain('Trying again now.');
  });

  it('promises no attempt where nothing more will come', () => {
    for (const code of FINAL) expect(problemText({ code }, 5).next, code).not.toMatch(/again in \d/);
  });
});

describe('may the publisher leave?', () => {
  it('says that nobody gets anything while passing on is paused', () => {
    const { safe, next } = safety({ others: 0.34, complete_peers: 0, paused: true });
    expect([safe, next]).toEqual([false, messages.safe.pausedNext]);
  });

  it('not while the others have only a part', () => {
    const { safe, title } = safety({ others: 0.34, complete_peers: 0 });
    expect([safe, title]).toEqual([false, 'Only you have all of it (others 34 %).']);
  });

  it('not while nobody else is there', () => {
    expect(safety({ others: 0, complete_peers: 0 }).safe).toBe(false);
  });

  it('when somebody has it all', () => {
    expect(safety({ others: 1, complete_peers: 2 }).title).toBe('Safe to close: 2 people have it all.');
    expect(safety({ others: 1, complete_peers: 1 }).title).toBe('Safe to close: 1 person has it all.');
  });

  it('when the others hold all of it between them', () => {
    expect(safety({ others: 1, complete_peers: 0 }).safe).toBe(true);
  });
});

describe('stages', () => {
  it('each phase has a text, for films and for files', () => {
    const phases = ['starting', 'connecting', 'looking', 'fetching', 'playing', 'complete', 'sharing', 'stopped'] as const;
    for (const phase of phases) {
      expect(messages.watch.status(phase, true)).not.toBe('');
      expect(messages.watch.status(phase, false)).not.toMatch(/film|picture/);
    }
  });
});
