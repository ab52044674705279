// A real server of its own for a test or a worker.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../target/dist/baton-server', import.meta.url));
// Generous: the first start of a test run may come right after a build.
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

export class Server {
  /** `http://localhost:PORT` */
  readonly url: string;
  readonly port: number;
  #process: ChildProcess;
  readonly #args: string[];
  readonly #log: string[];

  private constructor(process: ChildProcess, port: number, args: string[], log: string[]) {
    this.#process = process;
    this.#args = args;
    this.#log = log;
    this.port = port;
    this.url = `http://localhost:${port}`;
  }

  /** Starts `baton-server` on a free port (or this one) and waits until it says that it listens. */
  static async start(args: string[] = [], port = 0): Promise<Server> {
    const log: string[] = [];
    const [child, listening] = await Server.#spawn(args, port, log);
    return new Server(child, listening, args, log);
  }

  static async #spawn(args: string[], port: number, log: string[]): Promise<[ChildProcess, number]> {
    const program = process.env.BATON_SERVER || PROGRAM;
    const child = spawn(program, ['--listen', `127.0.0.1:${port}`, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const listening = new Promise<number>((resolve, reject) => {
      let text = '';
      const take = (chunk: Buffer): void => {
        log.push(chunk.toString());
        // A test that fails shows the end of it; the beginning is of no use by then.
        if (log.length > 2000) log.splice(0, 1000);
      };
      child.stderr!.on('data', take);
      child.stdout!.on('data', (chunk: Buffer) => {
        take(chunk);
        text = (text + chunk.toString()).slice(-4096);
        const found = /listening on http:\/\/[^\s/]*:(\d+)/.exec(text);
        if (found) resolve(Number(found[1]));
      });
      child.once('error', (error) => reject(new Error(`${program}: ${error.message} (cargo xtask build makes it)`)));
      child.once('exit', (code, signal) => reject(new Error(`${program} ended (${code ?? signal}):\n${log.join('')}`)));
      setTimeout(() => reject(new Error(`${program} does not listen:\n${log.join('')}`)), START_TIMEOUT_MS).unref();
    });
    try {
      return [child, await listening];
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** What it printed, both streams. */
  get log(): string {
    return this.#log.join('');
  }

  /** The same server again on the same port, after `stop` or `kill`. */
  async again(): Promise<void> {
    [this.#process] = await Server.#spawn(this.#args, this.port, this.#log);
  }

  /** Asks it to end and waits; one that does not is killed. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it without a word, as a power cut does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const forced = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(forced);
  }
}
