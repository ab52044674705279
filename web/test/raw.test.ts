import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';

const SIZE = 100;
const script = readFileSync(new URL('../public/raw.js', import.meta.url), 'utf8');

interface Asked {
  raw: string;
  from: number;
  to: number;
  port: MessagePort;
}

/** The worker, and a page under it that holds a file of a hundred bytes, each its own number; `parts`: how many bytes it gives at a time. */
function worker(page: ((asked: Asked) => void) | null) {
  const listeners = new Map<string, (event: unknown) => void>();
  const scope = {
    addEventListener: (type: string, listener: (event: unknown) => void) => listeners.set(type, listener),
    clients: { get: async () => (page ? { postMessage: page } : undefined) },
  };
  new Function('self', 'location', script)(scope, { origin: 'https://baton.example' });
  return (range: string | null, request: object = {}): Promise<Response> | null => {
    let answer: Promise<Response> | null = null;
    listeners.get('fetch')!({
      clientId: 'page',
      request: { method: 'GET', destination: 'video', url: 'https://baton.example/raw/1', headers: new Headers(range ? { range } : {}), ...request },
      respondWith: (response: Promise<Response>) => (answer = response),
    });
    return answer;
  };
}

const opened: MessagePort[] = [];
afterEach(() => opened.splice(0).forEach((port) => port.close()));

/** As web/src/raw.ts, seven bytes at a time; `heard`: what else the worker said. */
function holds(heard: string[] = [], fails = false) {
  return ({ from, to, port }: Asked): void => {
    opened.push(port);
    let at = from;
    const end = Math.min(to + 1, SIZE);
    port.onmessage = ({ data }) => {
      if (data !== 'more') return void heard.push(data);
      const part = Uint8Array.from({ length: Math.min(7, end - at) }, (_, i) => at + i);
      at += part.length;
      port.postMessage(fails ? 'failed' : part.length > 0 ? part : 'end');
    };
    port.postMessage(SIZE);
  };
}

const numbers = async (response: Response): Promise<number[]> => [...new Uint8Array(await response.arrayBuffer())];
const count = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('the worker that plays files', () => {
  it.each([
    ['bytes=0-', 206, 'bytes 0-99/100', 0, 99],
    ['bytes=10-19', 206, 'bytes 10-19/100', 10, 19],
    ['bytes=99-99', 206, 'bytes 99-99/100', 99, 99],
    ['bytes=90-999999999999', 206, 'bytes 90-99/100', 90, 99],
    // What it does not know, or means nothing, is no range.
    [null, 200, null, 0, 99],
    ['bytes=20-10', 200, null, 0, 99],
    ['bytes=-5', 200, null, 0, 99],
    ['bytes=0-1,5-6', 200, null, 0, 99],
    ['bytes=1e3-', 200, null, 0, 99],
    ['bytes=99999999999999999999-', 200, null, 0, 99],
  ])('%s', async (range, status, told, from, to) => {
    const response = (await worker(holds())(range))!;
    expect(response.status).toBe(status);
    expect(response.headers.get('content-range')).toBe(told);
    expect(response.headers.get('content-length')).toBe(String(to - from + 1));
    expect(await numbers(response)).toEqual(count(from, to));
  });

  it('refuses what begins behind the end', async () => {
    for (const range of ['bytes=100-', 'bytes=999999999999-999999999999']) {
      const response = (await worker(holds())(range))!;
      expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */100']);
    }
  });

  it('answers nothing but what a player gets', () => {
    const ask = worker(holds());
    for (const request of [
      { method: 'HEAD' },
      { destination: '' },
      { destination: 'document' },
      { destination: 'script' },
      { url: 'https://baton.example/' },
      { url: 'https://other.example/raw/1' },
    ]) {
      expect(ask(null, request)).toBeNull();
    }
  });

  it('has nothing for a page that is gone, holds another file, or hears nothing', async () => {
    expect((await worker(null)(null))!.status).toBe(404);
    expect((await worker(({ port }) => (opened.push(port), port.postMessage(null)))(null))!.status).toBe(404);
    vi.useFakeTimers();
    const answer = worker(({ port }) => void opened.push(port))(null)!;
    await vi.advanceTimersByTimeAsync(60_000);
    expect((await answer).status).toBe(404);
    vi.useRealTimers();
  });

  it('asks for no more than is taken, and says when nobody takes it', async () => {
    const heard: string[] = [];
    const reader = (await worker(holds(heard))('bytes=0-'))!.body!.getReader();
    expect((await reader.read()).value).toEqual(Uint8Array.from(count(0, 6)));
    await reader.cancel();
    await vi.waitFor(() => expect(heard).toEqual(['cancelled']));
  });

  it('ends when the page gives up', async () => {
    const response = (await worker(holds([], true))('bytes=0-'))!;
    await expect(response.arrayBuffer()).rejects.toThrow('gave up');
  });
});
