// `test` with a server and as many people as a test wants. A test fails when any of their pages complains.
import { test as base, expect, type Browser, type TestInfo } from '@playwright/test';
import { rmSync } from 'node:fs';
import { FIREFOX_DOWNLOADS, launchBrowser, type BrowserName } from './browsers.ts';
import { OldEngine, type Tv, type Version } from './old_engine.ts';
import { Peer, type PeerOptions } from './peer.ts';
import { Proxy } from './proxy.ts';
import { Server } from './server.ts';
import { Site } from './site.ts';

export { expect };
export { NETWORK_MESSAGES, Peer, type Stats } from './peer.ts';

interface TestFixtures {
  /** A fresh profile with one page; see `PeerOptions` for another browser or another process. */
  newPeer(options?: PeerOptions): Promise<Peer>;
  /** A television: a page in a real Chromium of 2019 or 2020. */
  newTv(version: Version, options?: TvOptions): Promise<Tv>;
  /** A server of the test's own, which it may stop. */
  newServer(args?: string[]): Promise<Server>;
  /** A wire tap before a server: it hears all that browsers send there, and may cut the line. */
  newProxy(server: Server): Promise<Proxy>;
  /** A web site of another origin. */
  newSite(): Promise<Site>;
}

export interface TvOptions {
  /** As `PeerOptions.base`. */
  base?: string;
  size?: { width: number; height: number };
  /** As `Launch.hosts`. */
  hosts?: string[];
}

interface WorkerFixtures {
  /** The worker's server: shared by its tests, never stopped by them. */
  server: Server;
  /** Browsers of the worker, by name; each is started when first asked for. */
  browsers: (name: BrowserName) => Promise<Browser>;
}

export const test = base.extend<TestFixtures, WorkerFixtures>({
  server: [
    async ({}, use) => {
      const server = await Server.start();
      await use(server);
      await server.stop();
    },
    { scope: 'worker' },
  ],

  browsers: [
    async ({ browser, browserName }, use) => {
      const started = new Map<BrowserName, Promise<Browser>>([[browserName as BrowserName, Promise.resolve(browser)]]);
      await use((name) => {
        const known = started.get(name) ?? launchBrowser(name);
        started.set(name, known);
        return known;
      });
      started.delete(browserName as BrowserName);
      for (const other of started.values()) await (await other).close();
      rmSync(FIREFOX_DOWNLOADS, { recursive: true, force: true });
    },
    { scope: 'worker' },
  ],

  newServer: async ({}, use, info) => {
    const servers: Server[] = [];
    await use(async (args) => {
      const server = await Server.start(args);
      servers.push(server);
      return server;
    });
    for (const server of servers) {
      await server.stop();
      if (failed(info)) await info.attach('server.log', { body: server.log });
    }
  },

  newProxy: async ({}, use) => {
    const proxies: Proxy[] = [];
    await use(async (server) => {
      const proxy = await Proxy.start(server.port);
      proxies.push(proxy);
      return proxy;
    });
    for (const proxy of proxies) await proxy.stop();
  },

  newSite: async ({}, use) => {
    const sites: Site[] = [];
    await use(async () => {
      const site = await Site.start();
      sites.push(site);
      return site;
    });
    for (const site of sites) await site.stop();
  },

  newTv: async ({ server, newServer: _, newProxy: _p }, use, info) => {
    const tvs: Tv[] = [];
    await use(async (version, options = {}) => {
      // A process for each: Chromium 79 now and then crashes a page when another one of its process is closed.
      const rules = (options.hosts ?? []).map((host) => `MAP ${host} 127.0.0.1`).join(',');
      const engine = await OldEngine.launch(version, rules ? [`--host-resolver-rules=${rules}`] : []);
      const tv = await engine.newTv(options.base ?? server.url, options.size);
      tvs.push(tv);
      return tv;
    });
    const problems = tvs.flatMap((tv) => tv.unexpected().map(({ kind, text, where }) => `Chromium ${tv.engine.version}, ${kind}: ${text}\n  ${where}`));
    for (const [index, tv] of tvs.entries()) {
      if (failed(info) || problems.length > 0) {
        const name = `tv-${index}-${tv.engine.version}`;
        const picture = await tv.picture().catch(() => null);
        if (picture) await info.attach(`${name}.png`, { body: picture, contentType: 'image/png' });
        console.log(`── ${name}\n${await tv.described().catch(String)}`);
      }
      await tv.close();
    }
    expect(problems, 'televisions complain').toEqual([]);
  },

  // It depends on the other three so that pages close before what they talk to.
  newPeer: async ({ server, browsers, browserName, newServer: _, newProxy: _p, newSite: _s }, use, info) => {
    const peers: Peer[] = [];
    // Peers that are launched alike share a process.
    const own = new Map<string, Promise<Browser>>();
    await use(async (options = {}) => {
      const name = options.browser ?? (browserName as BrowserName);
      let browser: Browser;
      if (options.launch) {
        const key = name + JSON.stringify(options.launch);
        const started = own.get(key) ?? launchBrowser(name, options.launch);
        own.set(key, started);
        browser = await started;
      } else {
        browser = await browsers(name);
      }
      const peer = await Peer.open(name, browser, options.base ?? server.url, options);
      peers.push(peer);
      return peer;
    });
    const problems = peers.flatMap((peer, index) =>
      peer.unexpected().map(({ kind, text, where }) => `peer ${index} (${peer.name}), ${kind}: ${text}\n  ${where}`),
    );
    if (failed(info) || problems.length > 0) await attach(info, peers, server);
    for (const peer of peers) await peer.context.close().catch(() => {});
    for (const browser of own.values()) await browser.then((it) => it.close()).catch(() => {});
    expect(problems, 'pages complain').toEqual([]);
  },
});

function failed(info: TestInfo): boolean {
  return info.status !== info.expectedStatus;
}

/** Leaves behind what somebody needs who was not there: pictures, statistics, consoles, the server's log. */
async function attach(info: TestInfo, peers: Peer[], server: Server): Promise<void> {
  for (const [index, peer] of peers.entries()) {
    const name = `peer-${index}-${peer.name}`;
    const picture = await peer.picture().catch(() => null);
    if (picture) await info.attach(`${name}.png`, { body: picture, contentType: 'image/png' });
    const sides = [await peer.stats('share').catch(() => null), await peer.stats('view').catch(() => null)];
    const [share, view] = sides;
    const text = `${peer.console.join('\n')}\n\nshare ${JSON.stringify(share, null, 1)}\nview ${JSON.stringify(view, null, 1)}`;
    await info.attach(`${name}.txt`, { body: text, contentType: 'text/plain' });
    console.log(`── ${name} at ${peer.page.isClosed() ? '(closed)' : new URL(peer.page.url()).pathname}\n${text.slice(-6000)}`);
  }
  await info.attach('server.log', { body: server.log, contentType: 'text/plain' });
}
