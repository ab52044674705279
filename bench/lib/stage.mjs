// One network with its servers and browsers, made as they are asked for, gone when it closes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Browser } from './browser.mjs';
import { MEDIA } from './media.mjs';
import { HOME, loopback, shaped } from './network.mjs';
import { atEnd, start } from './processes.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export class Stage {
  #browsers = new Map();
  #servers = new Map();
  #folders = [];

  constructor(network, kind = 'chromium', onDisk = false) {
    this.network = network;
    this.kind = kind;
    this.onDisk = onDisk;
  }

  /** `kind`: chromium or firefox. `onDisk`: each browser has a profile on disk; without one Chromium keeps in memory what pages store, and no 2 GB of it. */
  static async loopback(kind, onDisk) {
    return new Stage(await loopback(), kind, onDisk);
  }

  static async shaped() {
    return new Stage(await shaped(['server', 'publisher', 'viewer'], { round_trip_ms: 30 }));
  }

  /** One, the `seeder`, has a narrow uplink; the publisher none that is felt. */
  static async narrow(up_kbit) {
    const wide = { up_kbit: 100_000, down_kbit: 100_000, loss_ppm: 0 };
    const own = { server: wide, publisher: wide, seeder: { ...HOME, up_kbit } };
    const network = await shaped(['server', 'publisher', 'seeder', 'viewer'], { round_trip_ms: 30, own });
    return new Stage({ ...network, name: `${up_kbit / 1000} Mbit/s up, 30 ms` });
  }

  /** The browser of a role, e.g. `publisher`, `viewer`: its own process tree. */
  async browser(role) {
    if (!this.#browsers.has(role)) {
      const profile = this.onDisk ? this.#folder() : undefined;
      this.#browsers.set(role, await Browser.launch(this.network.place(role), this.kind, profile));
    }
    return this.#browsers.get(role);
  }

  #folder() {
    const path = mkdtempSync(join(tmpdir(), 'baton-bench-'));
    this.#folders.push(atEnd(() => rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })));
    return path;
  }

  async tab(role) {
    return (await this.browser(role)).tab();
  }

  /** `http://HOST:PORT` of our own server. */
  async baton() {
    const program = process.env.BATON_SERVER || here('../../target/dist/baton-server');
    const { address } = this.network.place('server');
    return this.#server('baton', program, ['--listen', `${address}:0`]);
  }

  /** Of the rivals' pages, and of the films over plain HTTP. */
  async pages() {
    const { address } = this.network.place('server');
    return this.#server('pages', process.execPath, [here('static-server.mjs'), address, MEDIA]);
  }

  /** `ws://…` of WebTorrent's tracker. */
  async tracker() {
    const { address } = this.network.place('server');
    return this.#server('tracker', process.execPath, [here('tracker.mjs'), address]);
  }

  async #server(name, program, args) {
    if (!this.#servers.has(name)) {
      const place = this.network.place('server');
      const ready = /listening on (http|ws):\/\/\S*?:(\d+)\s/;
      const server = await start(...place.command(program, args), { ready });
      const [, scheme, port] = server.match;
      this.#servers.set(name, { url: `${scheme}://${place.host}:${port}`, stop: server.stop });
    }
    return this.#servers.get(name).url;
  }

  async close() {
    for (const browser of this.#browsers.values()) await browser.close();
    for (const remove of this.#folders) await remove();
    for (const server of this.#servers.values()) await server.stop();
    await this.network.close();
  }
}
