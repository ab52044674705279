// Chromium or Firefox, one process tree for each role; each visit is a fresh profile in it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium, firefox } from 'playwright-core';
import { atEnd, childWith, cpuByThread, cpuSeconds } from './processes.mjs';

// Browsers refuse to start without one.
process.env.HOME ||= '/tmp';

const SWITCHES = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

const PREFERENCES = {
  'media.autoplay.default': 0,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
};

const VIEWPORT = { width: 1280, height: 800 };

const MARKS = readFileSync(fileURLToPath(new URL('../pages/marks.js', import.meta.url)), 'utf8');

/** Nothing that is measured takes this long; what does is stuck. */
const PATIENCE_MS = 60_000;

/** A new window is at rest when three looks in a row find it so. */
const REST_LOOKS = 3;
const REST_LOOK_MS = 200;
const REST_MAX_MS = 4_000;

let launches = 0;

export class Browser {
  #browser;
  #profile;
  #close;

  /** `profile`: a folder for one profile that all tabs share, as people have it; without one nothing is written to disk. */
  static async launch(place, kind = 'chromium', profile = undefined) {
    const self = new Browser();
    // A switch that Chromium does not know, by which we find its process.
    const mark = `--baton-bench=${process.pid}.${launches++}`;
    self.kind = kind;
    const firefoxOptions = {
      channel: 'moz-firefox',
      executablePath: process.env.FIREFOX || '/usr/bin/firefox-esr',
      args: [mark],
      firefoxUserPrefs: PREFERENCES,
    };
    const chromiumOptions = { executablePath: place.chromium, args: [...SWITCHES, ...place.switches, mark] };
    const [engine, options] = kind === 'firefox' ? [firefox, firefoxOptions] : [chromium, chromiumOptions];
    if (profile) self.#profile = await engine.launchPersistentContext(profile, { ...options, viewport: VIEWPORT });
    else self.#browser = await engine.launch(options);
    self.pid = childWith(mark);
    self.#close = atEnd(() => (self.#profile ?? self.#browser).close());
    // The first tab of a browser pays for what all others share (font and shader set-up): not part of any figure.
    const warm = await (self.#profile ?? self.#browser).newPage();
    await warm.goto('data:text/html,<video></video>');
    await (profile ? warm.close() : warm.context().close());
    return self;
  }

  /**
   * A fresh profile with one empty tab, in which the marks are already set. The browser has come to rest: it loads pages of its own for
   * each new window, which took 0.15 s of processor time from whatever was measured first in it.
   */
  async tab() {
    const context = this.#profile ?? (await this.#browser.newContext({ viewport: VIEWPORT }));
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(MARKS);
    const page = await context.newPage();
    const trouble = [];
    page.on('pageerror', (error) => trouble.push(String(error)));
    page.on('crash', () => trouble.push('the tab crashed'));
    page.on('console', (message) => {
      if (message.type() === 'error') trouble.push(message.text());
    });
    await this.#rest();
    return { page, context, trouble, close: () => (this.#profile ? page.close() : context.close()) };
  }

  /** Until it uses less than a twentieth of a core, or others keep it busy (a publisher at work). */
  async #rest() {
    const until = performance.now() + REST_MAX_MS;
    let before = this.cpu();
    for (let calm = 0; calm < REST_LOOKS && performance.now() < until; ) {
      await new Promise((resolve) => setTimeout(resolve, REST_LOOK_MS));
      const now = this.cpu();
      calm = now - before < (0.05 * REST_LOOK_MS) / 1000 ? calm + 1 : 0;
      before = now;
    }
  }

  /** CPU-seconds of the browser and all that it started. */
  cpu() {
    return cpuSeconds(this.pid);
  }

  /** The same by thread, of those that live. */
  cpuByThread() {
    return cpuByThread(this.pid);
  }

  async close() {
    await this.#close();
  }
}

/** Gives up with what the page said about itself. */
export async function patience(tab, what, promise, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    const said = tab.trouble.length > 0 ? `; the page said: ${tab.trouble.slice(0, 5).join(' | ')}` : '';
    throw new Error(`${error.message}${said}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Goes there; resolves with the milliseconds from the navigation to the first picture. */
export async function firstPicture(tab, url, what) {
  await tab.page.goto(url, { waitUntil: 'commit' });
  return patience(tab, `${what}: first picture`, tab.page.evaluate(() => window.__bench.firstPicture));
}

/** Milliseconds from setting the time to the picture of that time. */
export async function seek(tab, seconds, what) {
  return patience(tab, `${what}: seek`, tab.page.evaluate((to) => window.__bench.seek(to), seconds));
}

/** Bytes that this tab's data channels have sent and received so far, closed ones included. */
export const channelBytes = (tab) => tab.page.evaluate(() => window.__bench.channelBytes());
