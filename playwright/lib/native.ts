// `baton` on the command line: peers without a browser, as servers and scripts have them.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../target/dist/baton', import.meta.url));

/** One line of `baton --json` (docs/cli.md). */
export interface NativeEvent {
  event: string;
  [name: string]: unknown;
}

export class Native {
  /** A folder of its own, which it works in. */
  readonly folder = mkdtempSync(join(tmpdir(), 'baton-native-'));
  readonly #child: ChildProcess;
  readonly #said: NativeEvent[] = [];
  #heard: () => void = () => undefined;
  #ended = false;

  constructor(args: string[]) {
    this.#child = spawn(process.env.BATON || PROGRAM, ['--json', ...args], { cwd: this.folder, stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.#said.push(JSON.parse(line) as NativeEvent);
      this.#heard();
    });
    const end = (): void => {
      this.#ended = true;
      this.#heard();
    };
    this.#child.once('exit', end).once('error', end);
  }

  /** The first event that fits, from the beginning on. Rejects when the process ends without one. */
  async until(fits: (event: NativeEvent) => boolean): Promise<NativeEvent> {
    for (;;) {
      const found = this.#said.find(fits);
      if (found) return found;
      if (this.#ended) throw new Error(`baton ended; it last said ${JSON.stringify(this.#said.at(-1))}`);
      await new Promise<void>((heard) => (this.#heard = heard));
    }
  }

  said(name: string): Promise<NativeEvent> {
    return this.until((event) => event.event === name);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    // Whatever it writes until it is gone would be in the way.
    while (!this.#ended) await new Promise<void>((heard) => (this.#heard = heard));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
