// Chromium 79 and 86, as televisions have them: driven over a pipe by the DevTools protocol, because today's drivers speak to newer ones only.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Watched } from './problems.ts';

export type Version = 79 | 86;

const program = (version: Version): string => fileURLToPath(new URL(`../../target/engines/${version}/chromium`, import.meta.url));
const PATIENCE_MS = 60_000;
const ANSWER_MS = 60_000;

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as the protocol has it
  params?: any;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  result?: any;
  error?: { message: string };
}

/** Memory of the process of a page, bytes. */
export interface Memory {
  /** All that it has written or made, the parts of the program that only it has in memory, and its share of the pictures that it shares with the browser. */
  own: number;
  /** And its share of the parts of the program that other processes of the browser have in memory too (PSS). */
  share: number;
}

/** What an engine takes. */
export interface Usage {
  /** Of its page: the largest of the processes that have one. */
  page: Memory;
  /** Of the empty page that every engine begins with, beside it. */
  empty: Memory;
  /** Processor seconds of the page's process, by thread; threads of one name together. */
  page_s: Map<string, number>;
  /** Of the other processes, by their kind: one browser, what draws, what reaches the network. */
  others_s: Map<string, number>;
}

/** An old Chromium. */
export class OldEngine {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  readonly #listeners = new Map<string, (method: string, params: never) => void>();
  #next = 1;

  private constructor(readonly version: Version, process: ChildProcess, profile: string) {
    this.#process = process;
    this.#profile = profile;
    let rest = '';
    // Descriptor 4 is where it writes; messages end with a zero byte.
    (process.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\0');
      rest = parts.pop()!;
      for (const part of parts) this.#hear(JSON.parse(part) as Message);
    });
    process.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`Chromium ${version} has ended`));
      this.#waiting.clear();
    });
    // What is written to one that has ended is answered by that.
    (process.stdio[3] as Writable).on('error', () => undefined);
  }

  static async launch(version: Version, args: string[] = []): Promise<OldEngine> {
    const path = program(version);
    if (!existsSync(path)) throw new Error(`no ${path}: cargo xtask test browsers makes it`);
    const profile = mkdtempSync(join(tmpdir(), `baton-tv-${version}-`));
    const fixed = ['--headless', '--no-sandbox', '--no-zygote', '--disable-gpu', '--remote-debugging-pipe', '--mute-audio'];
    // A television's browser plays at once: nobody clicks there.
    const usual = ['--autoplay-policy=no-user-gesture-required', '--no-first-run', `--user-data-dir=${profile}`];
    const child = spawn(path, [...fixed, ...usual, ...args, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true });
    const engine = new OldEngine(version, child, profile);
    await engine.send('Browser.getVersion');
    return engine;
  }

  /** Its page. */
  async newTv(base: string, size = { width: 1280, height: 720 }): Promise<Tv> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', ...size });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const tv = new Tv(this, sessionId, base);
    await tv.begin(size);
    return tv;
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as the protocol has it
  send(method: string, params: object = {}, sessionId?: string): Promise<any> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return Promise.reject(new Error(`Chromium ${this.version} has ended`));
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => {
      // Old engines forget what was asked of a page while it gives way to the next.
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`Chromium ${this.version} does not answer to ${method} in ${ANSWER_MS} ms`));
      }, ANSWER_MS);
      this.#waiting.set(id, {
        resolve: (result) => {
          clearTimeout(timer);
          resolve(result);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
    });
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) })}\0`);
    return answer;
  }

  listen(sessionId: string, listener: (method: string, params: never) => void): void {
    this.#listeners.set(sessionId, listener);
  }

  /** Ends all its processes, as a power cut does. They are a group of their own: what is left of one would go on writing to the profile. */
  async close(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      process.kill(-this.#process.pid!, 'SIGKILL');
      await ended;
    }
    try {
      rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    } catch {
      // A process that the kernel still takes down: some megabytes stay in the folder for temporary files.
    }
  }

  /** What it takes of the machine now, and took so far. */
  usage(): Usage {
    const sum = { page_s: new Map<string, number>(), others_s: new Map<string, number>() };
    const pages: Memory[] = [];
    for (const pid of numbers('/proc')) {
      try {
        const stat = fields(`/proc/${pid}/stat`);
        const type = Number(pid) === this.#process.pid ? 'browser' : Number(stat[1]) === this.#process.pid ? processType(pid) : null;
        if (type === null) continue;
        if (type !== 'renderer') {
          sum.others_s.set(type, (sum.others_s.get(type) ?? 0) + seconds(stat));
          continue;
        }
        pages.push(memory(pid));
        for (const tid of numbers(`/proc/${pid}/task`)) {
          const comm = readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim().replace(/[\d/]+$/, '');
          const name = tid === pid ? 'main' : comm;
          sum.page_s.set(name, (sum.page_s.get(name) ?? 0) + seconds(fields(`/proc/${pid}/task/${tid}/stat`)));
        }
      } catch {
        // It has ended by itself.
      }
    }
    pages.sort((a, b) => a.share - b.share);
    return { ...sum, page: pages.at(-1)!, empty: pages[0]! };
  }

  #hear(message: Message): void {
    if (message.id !== undefined) {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) waiting?.reject(new Error(message.error.message));
      else waiting?.resolve(message.result as never);
    } else if (message.sessionId) {
      this.#listeners.get(message.sessionId)?.(message.method!, message.params as never);
    }
  }
}

/** See proc_pid_smaps(5). Pages that are private and clean are the program's: everything else that is private is anonymous. */
function memory(pid: string): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN) * 1024;
  return { own: of('Pss_Anon') + of('Pss_Shmem') + of('Private_Clean'), share: of('Pss') };
}

const numbers = (folder: string): string[] => readdirSync(folder).filter((name) => /^\d+$/.test(name));

/** Which of the browser's helpers this process is. */
const processType = (pid: string): string => /--type=([a-z-]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))?.[1] ?? 'other';

/** Processor time of a `stat`: clock ticks are hundredths of a second on every Linux that Node runs on. */
const seconds = (stat: string[]): number => (Number(stat[11]) + Number(stat[12])) / 100;

/** Of a `stat` below /proc (proc(5)), from the state on: what is before it has spaces in it. */
const fields = (path: string): string[] => readFileSync(path, 'utf8').split(') ').pop()!.split(' ');

/** What a remote control sends: virtual key codes of webOS, Tizen and keyboards. */
export const KEYS = {
  left: 37, up: 38, right: 39, down: 40, ok: 13,
  back: 461, backTizen: 10009, escape: 27,
  play: 415, pause: 19, playPause: 10252, stop: 413, forward: 417, rewind: 412,
} as const; // prettier-ignore

/** One page of an old Chromium, and everything that went wrong in it. Functions that run in it must be written in words that it knows: no `?.`, no `??`. */
export class Tv extends Watched {
  #replaced = '';
  #arrived: () => void = () => undefined;

  constructor(
    readonly engine: OldEngine,
    readonly session: string,
    readonly base: string,
  ) {
    super();
  }

  async begin(size: { width: number; height: number }): Promise<void> {
    this.#watch(this.session);
    await Promise.all([
      this.send('Page.enable'),
      this.send('Runtime.enable'),
      this.send('Log.enable'),
      this.send('Inspector.enable'),
      this.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: true }),
      this.send('Emulation.setDeviceMetricsOverride', { ...size, deviceScaleFactor: 1, mobile: false }),
    ]);
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as the protocol has it
  send(method: string, params: object = {}): Promise<any> {
    return this.engine.send(method, params, this.session);
  }

  async go(path = '/'): Promise<void> {
    const arrived = new Promise<void>((resolve) => (this.#arrived = resolve));
    const { errorText } = await this.send('Page.navigate', { url: new URL(path, this.base).href });
    if (errorText) throw new Error(`${path}: ${errorText}`);
    const patience = new Promise<void>((_, reject) => setTimeout(() => reject(new Error(`${path} does not come`)), PATIENCE_MS).unref());
    await Promise.race([arrived, patience]);
  }

  /** Answers requests whose address has these words in it with this script instead. */
  async replace(words: string, script: string): Promise<void> {
    this.#replaced = Buffer.from(script).toString('base64');
    await this.send('Fetch.enable', { patterns: [{ urlPattern: `*${words}*` }] });
  }

  /** Runs a function in the page; what it takes and gives crosses as JSON. */
  async run<A extends unknown[], R>(work: (...args: A) => R | Promise<R>, ...args: A): Promise<R> {
    const expression = `(${work})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value as R;
  }

  /** Waits until a condition holds in the page, and returns what it gave. */
  async until<R, A extends unknown[]>(condition: (...args: A) => R, ...args: A): Promise<NonNullable<R>> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      // A page on its way to another is not there for a moment.
      const found = await this.run(condition, ...args).catch((error: Error) => {
        if (Date.now() > end) throw error;
        return null;
      });
      if (found) return found;
      if (Date.now() > end) {
        throw new Error(`Chromium ${this.engine.version}: not so in ${PATIENCE_MS} ms: ${condition}\n${await this.described()}`);
      }
      await new Promise((next) => setTimeout(next, 50));
    }
  }

  /** One key of the remote control, down and up. */
  async key(...names: (keyof typeof KEYS)[]): Promise<void> {
    for (const name of names) {
      const code = KEYS[name];
      const known: Record<number, string> = { 37: 'ArrowLeft', 38: 'ArrowUp', 39: 'ArrowRight', 40: 'ArrowDown', 13: 'Enter', 27: 'Escape' };
      const key = known[code] ?? '';
      const text = code === 13 ? { text: '\r' } : {};
      const common = { key, code: key, windowsVirtualKeyCode: code, nativeVirtualKeyCode: code };
      await this.send('Input.dispatchKeyEvent', { type: text.text ? 'keyDown' : 'rawKeyDown', ...common, ...text });
      await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
    }
  }

  /** Types on what keyboard there is. */
  async type(text: string): Promise<void> {
    await this.send('Input.insertText', { text });
  }

  async picture(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  /** Switches it off: nothing is said to anybody. */
  close(): Promise<void> {
    return this.engine.close();
  }

  /** For the report of a failed test. */
  async described(): Promise<string> {
    const text = await this.run(() => document.body.innerText.slice(0, 1500)).catch(String);
    const stats = await this.run(() => {
      const baton = (window as unknown as { baton?: { view?: { stats(): unknown } } }).baton;
      return baton && baton.view ? JSON.stringify(baton.view.stats()) : 'no view';
    }).catch(String);
    return [...this.console.slice(-30), '', text, stats].join('\n');
  }

  #watch(session: string): void {
    this.engine.listen(session, (method, params: never) => {
      // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as the protocol has it
      const it = params as any;
      if (method === 'Runtime.consoleAPICalled') {
        const text = it.args.map((arg: { value?: unknown; description?: string }) => String(arg.value ?? arg.description)).join(' ');
        this.console.push(`${it.type}: ${text}`);
        if (it.type === 'error') this.report({ kind: 'console', text, where: '' });
      } else if (method === 'Log.entryAdded' && it.entry.level === 'error') {
        this.report({ kind: 'console', text: it.entry.text, where: it.entry.url ?? '' });
      } else if (method === 'Runtime.exceptionThrown') {
        const text = it.exceptionDetails.exception?.description ?? it.exceptionDetails.text;
        this.report({ kind: 'exception', text, where: it.exceptionDetails.url ?? '' });
      } else if ((method === 'Page.frameNavigated' && !it.frame.parentId) || method === 'Page.navigatedWithinDocument') {
        this.#arrived();
      } else if (method === 'Fetch.requestPaused') {
        const responseHeaders = [{ name: 'content-type', value: 'text/javascript' }];
        void this.send('Fetch.fulfillRequest', { requestId: it.requestId, responseCode: 200, responseHeaders, body: this.#replaced });
      } else if (method === 'Inspector.targetCrashed') {
        this.report({ kind: 'crash', text: 'the page crashed', where: '' });
      } else if (method === 'Target.attachedToTarget') {
        // Workers are heard too.
        this.#watch(it.sessionId);
        void this.engine.send('Runtime.enable', {}, it.sessionId).catch(() => undefined);
      }
    });
  }
}
