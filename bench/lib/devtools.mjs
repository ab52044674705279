// A Chromium as people start it, spoken to by the DevTools protocol alone: Playwright tells its pages that they are seen, whatever happens to their windows.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { atEnd } from './processes.mjs';

const SWITCHES = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-port=0'];

export class PlainChromium {
  #socket;
  #answers = new Map();
  #count = 0;
  #target;
  #session;

  static async launch(place) {
    const self = new PlainChromium();
    const profile = mkdtempSync(join(tmpdir(), 'baton-bench-'));
    const child = spawn(place.chromium, [...SWITCHES, ...place.switches, `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
    self.close = atEnd(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill();
        await gone;
      }
      // Its other processes write there for a while after it: on a busy machine longer than ten tries.
      rmSync(profile, { recursive: true, force: true, maxRetries: 40, retryDelay: 100 });
    });
    await self.#connect(await address(child));
    return self;
  }

  async #connect(address) {
    this.#socket = new WebSocket(address);
    await new Promise((open, failed) => this.#socket.once('open', open).once('error', failed));
    this.#socket.on('message', (text) => {
      const { id, result, error } = JSON.parse(text);
      const [answer, fail] = this.#answers.get(id) ?? [];
      this.#answers.delete(id);
      if (error) fail?.(new Error(error.message));
      else answer?.(result);
    });
    const { targetInfos } = await this.#send('Target.getTargets');
    this.#target = targetInfos.find(({ type }) => type === 'page').targetId;
    const { sessionId } = await this.#send('Target.attachToTarget', { targetId: this.#target, flatten: true });
    this.#session = sessionId;
  }

  #send(method, params = {}, sessionId = undefined) {
    const id = (this.#count += 1);
    return new Promise((answer, fail) => {
      this.#answers.set(id, [answer, fail]);
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  /** In the one tab. */
  page(method, params) {
    return this.#send(method, params, this.#session);
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.page('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Until this is true there. */
  async until(expression, ms = 20_000) {
    const end = performance.now() + ms;
    while (!(await this.evaluate(expression).catch(() => false))) {
      if (performance.now() > end) throw new Error(`not within ${ms / 1000} s: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** As a person chooses it. */
  async choose(selector, path) {
    const { root } = await this.page('DOM.getDocument');
    const { nodeId } = await this.page('DOM.querySelector', { nodeId: root.nodeId, selector });
    await this.page('DOM.setFileInputFiles', { nodeId, files: [path] });
  }

  /** The window is minimized: nobody sees the tab. */
  async hide() {
    const { windowId } = await this.#send('Browser.getWindowForTarget', { targetId: this.#target });
    await this.#send('Browser.setWindowBounds', { windowId, bounds: { windowState: 'minimized' } });
    await this.until(`document.visibilityState === 'hidden'`);
  }

  async show() {
    const { windowId } = await this.#send('Browser.getWindowForTarget', { targetId: this.#target });
    await this.#send('Browser.setWindowBounds', { windowId, bounds: { windowState: 'normal' } });
    await this.until(`document.visibilityState === 'visible'`);
  }
}

function address(child) {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    child.once('exit', () => reject(new Error(`Chromium ended:\n${said}`)));
  });
}
