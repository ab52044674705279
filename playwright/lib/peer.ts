// A person at a browser: one page in a profile of its own, and everything that went wrong in it.
import type { Browser, BrowserContext, BrowserContextOptions, Page } from '@playwright/test';
import { launchProfile, type BrowserName, type Launch } from './browsers.ts';
import { Watched } from './problems.ts';

/** Which half of `window.baton` a test looks at. */
export type Side = 'share' | 'view';

/** The statistics that the pages expose; web/src/api.ts says what each is. */
export interface Stats {
  phase: string;
  problem: { code: string; detail?: string; retry_s?: number } | null;
  complete: boolean;
  have: number;
  size: number;
  others: number;
  complete_peers: number;
  bytes_verified: number;
  bytes_stored: number;
  bytes_received: number;
  bytes_sent: number;
  bytes_confirmed: number;
  confirmed_by: number;
  from_viewers: number;
  verified_blocks: number;
  rejected_blocks: number;
  startup_ms: number | null;
  stalls: number;
  blake3: string | null;
  hash_progress: number | null;
  file: number | null;
  have_ranges: [number, number][];
  path_counts: { direct: number; relay: number };
  peers: { id: string; role: string; rtt_ms: number | null; received: number; sent: number; path: string; complete: number }[];
}

export interface PeerOptions {
  /** By default the project's own. */
  browser?: BrowserName;
  /** A browser process of its own, started so. Without it a peer is a fresh profile in the worker's process. */
  launch?: Launch;
  /** A folder that the browser keeps its profile in, as people's do: what is stored there is found again. A process of its own. */
  profile?: string;
  /** Page settings: viewport, colour scheme, touch. */
  context?: BrowserContextOptions;
  /** The server's address, where it is not the worker's own: `http://lan.test:PORT`, another server, a proxy. */
  base?: string;
  /** Called in every document before its own scripts. */
  init?: (() => void) | (() => void)[];
}

/** For `init`: an engine whose data channels cannot move into a worker, as all were before Chromium 130 and Firefox 144. */
export function channelsStay(): void {
  const post = Worker.prototype.postMessage as (...args: unknown[]) => void;
  Worker.prototype.postMessage = function (this: Worker, message: unknown, transfer?: unknown): void {
    if (Array.isArray(transfer) && transfer.some((it) => it instanceof RTCDataChannel)) {
      throw new DOMException('channels stay here', 'DataCloneError');
    }
    post.call(this, message, transfer);
  };
}

export class Peer extends Watched {
  private constructor(
    readonly name: BrowserName,
    readonly page: Page,
    readonly context: BrowserContext,
    readonly base: string,
  ) {
    super();
    // Firefox, when a `<video>` that plays a file as it is has enough of an answer before its end (raw.spec.ts). It names no page, and may come
    // minutes later, when the browser stops the worker.
    this.allow(ENOUGH);
  }

  static async open(name: BrowserName, browser: Browser, base: string, options: PeerOptions): Promise<Peer> {
    const settings = { baseURL: base, viewport: { width: 1100, height: 800 }, ...options.context };
    const kept = options.profile ? await launchProfile(name, options.profile, settings) : null;
    const context = kept ?? (await browser.newContext(settings));
    for (const init of [options.init ?? []].flat()) await context.addInitScript(init);
    const page = kept?.pages()[0] ?? (await context.newPage());
    const peer = new Peer(name, page, context, base);
    peer.#watch();
    return peer;
  }

  /** Workers are heard too, in both browsers; an unhandled rejection comes as an exception. */
  #watch(): void {
    this.context.on('console', (message) => {
      const place = message.location();
      const where = `${place.url}:${place.lineNumber}`;
      this.console.push(`${message.type()}: ${message.text()}`);
      if (message.type() === 'error') this.report({ kind: 'console', text: message.text(), where });
    });
    this.context.on('weberror', (webError) => {
      const error = webError.error();
      this.report({ kind: 'exception', text: error.message, where: error.stack ?? '' });
    });
    const watchPage = (page: Page): void => {
      page.on('crash', () => this.report({ kind: 'crash', text: 'the page crashed', where: page.url() }));
    };
    this.context.pages().forEach(watchPage);
    this.context.on('page', watchPage);
  }

  /** Opens a path of the server, or a whole address. */
  async go(path = '/'): Promise<void> {
    await this.page.goto(path);
  }

  /** Chooses a file on the share page, as a person does, and returns the link. */
  async share(file: string | { name: string; mimeType: string; buffer: Buffer }, path = '/'): Promise<string> {
    await this.go(path);
    await this.page.getByTestId('file-input').setInputFiles(file);
    const link = this.page.getByTestId('share-url');
    await link.waitFor({ state: 'visible' });
    return link.evaluate((element) => ('value' in element ? String(element.value) : (element.textContent ?? '')).trim());
  }

  /** Opens a link that somebody sent. `query` goes before the fragment, e.g. `?wasm=mvp`. */
  async open(link: string, query = ''): Promise<void> {
    await this.page.goto(query ? link.replace('#', `${query}#`) : link);
  }

  /** `window.baton.view.stats()` or `window.baton.share.stats()`; `null` before there is one. */
  stats(side: Side): Promise<Stats | null> {
    return this.page.evaluate((side) => {
      const baton = (window as { baton?: Partial<Record<string, { stats(): unknown }>> }).baton;
      return (baton?.[side]?.stats() ?? null) as Stats | null;
    }, side);
  }

  /**
   * Waits until the statistics satisfy a condition and returns them. The condition runs in the page: it sees only its
   * two arguments.
   */
  async until<A = undefined>(
    side: Side,
    condition: (stats: Stats, argument: A) => boolean,
    options: { argument?: A; timeout?: number } = {},
  ): Promise<Stats> {
    const { argument, timeout = 60_000 } = options;
    // As text, because a function does not cross as an argument. `evaluate` may do that under our Content-Security-Policy;
    // `waitForFunction` with text may not.
    const stats = await this.page.evaluate<Stats | null>(`(async () => {
      const condition = ${condition};
      const end = performance.now() + ${timeout};
      while (performance.now() < end) {
        const stats = window.baton?.${side}?.stats();
        if (stats && condition(stats, ${JSON.stringify(argument)})) return stats;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return null;
    })()`);
    if (stats) return stats;
    const last = JSON.stringify(await this.stats(side), null, 1);
    throw new Error(`not reached in ${timeout} ms: ${condition}\nlast statistics: ${last}`);
  }

  /** Limits what this page passes on; the rest stays as it was. */
  async setUpload(side: Side, settings: { paused?: boolean; bytesPerSecond?: number | null }): Promise<void> {
    await this.page.evaluate(
      ([side, settings]) => {
        const baton = (window as { baton?: Partial<Record<string, { setUpload(settings: unknown): void }>> }).baton;
        baton![side]!.setUpload(settings);
      },
      [side, settings] as const,
    );
  }

  /** A picture of the page. Playwright injects a style for it, which our policy forbids: Firefox says so, by the style's hash. */
  picture(): Promise<Buffer> {
    this.allow(/sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT\+SmwNZWA=/);
    return this.page.screenshot({ timeout: 5000 });
  }

  /** Closes the tab: what happens when somebody leaves. */
  async leave(): Promise<void> {
    await this.context.close();
  }
}

const ENOUGH = /^Failed to load ‘[^’]*’\. A ServiceWorker intercepted the request and encountered an unexpected error/;

/** What both browsers say when a WebSocket or a request cannot reach a server that the test has stopped. */
export const NETWORK_MESSAGES = [
  /WebSocket connection to .* failed/,
  /can’t establish a connection to the server at ws/,
  /connection to ws.* was interrupted while the page was loading/,
  /net::ERR_\w+/,
  // A part of the page that comes later than the rest was on its way.
  /Loading failed for the|error loading dynamically imported module|Failed to fetch dynamically imported module/,
];
