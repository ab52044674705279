/**
 * Starts the engine: the smallest thing that must run before the WASM may load.
 *
 * Chooses the build (`simd` or `mvp`), compiles it while it downloads, hands the one compiled module to the worker and
 * to this page. Nothing here waits for the user interface, and nothing of the user interface is imported here.
 */
import type { Client, ClientOptions, View } from './api';
import mvpWasm from './wasm/mvp/baton_bg.wasm?url';
import simdWasm from './wasm/simd/baton_bg.wasm?url';
import mvpWorker from './worker-mvp?worker&url';
import simdWorker from './worker-simd?worker&url';
import ac3Worker from './worker-ac3?worker&url';

type Build = 'mvp' | 'simd';

/** What wasm-bindgen makes of client-wasm, as far as the page needs it. */
interface Glue {
  default(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  View: { prototype: View };
  Client: {
    start(options: ClientOptions & { server: string; worker: Worker; socket?: WebSocket }): Promise<Client> | Client;
  };
}

/** The engine of this browser, half started: `Client.start` only has to join the halves. */
interface Engine {
  build: Build;
  glue: Promise<Glue>;
  module: Promise<WebAssembly.Module>;
  worker: Worker;
  /** Rejects when the worker's script does not come, or breaks down before there is a client to tell (client-wasm listens from then on). */
  failed: Promise<never>;
}

/** Why the engine cannot run here; `code` is a `ProblemCode`. */
export class BootError extends Error {
  constructor(
    readonly code: 'unsupported-browser' | 'server-lost' | 'engine-stopped',
    message: string,
  ) {
    super(message);
    this.name = 'BootError';
  }
}

/** The worker of a client's engine. */
const workers = new WeakMap<Client, Worker>();
export const workerOf = (client: Client): Worker => workers.get(client)!;

let early: Engine | null = null;
let earlySocket: WebSocket | null = null;

/**
 * Begins to load before anybody asked for a client, so that it is there when somebody does. `joining`: a link is being
 * opened; the socket to the server then opens while the WASM is on its way, which saves two round trips.
 */
export function warmUp(joining = false): void {
  if (early || missingFeature() !== null) return;
  early = beginEngine(chooseBuild());
  if (joining) earlySocket = new WebSocket(`${ownOrigin().replace(/^http/, 'ws')}/ws`, SUBPROTOCOL);
}

/** signal-protocol's `SUBPROTOCOL`. */
const SUBPROTOCOL = 'baton.1';

const ownOrigin = (): string => new URL(import.meta.url).origin;

export async function startClient(options: ClientOptions = {}): Promise<Client> {
  const missing = missingFeature();
  if (missing !== null) throw new BootError('unsupported-browser', missing);
  const build = options.wasm ?? chooseBuild();
  const engine = early && early.build === build ? early : beginEngine(build);
  // A second client gets a worker of its own: one engine per worker.
  early = null;
  const server = options.server ?? ownOrigin();
  const socket = server === ownOrigin() && earlySocket ? { socket: earlySocket } : {};
  earlySocket = null;
  try {
    const [glue, module] = await Promise.race([Promise.all([engine.glue, engine.module]), engine.failed]);
    // Not `initSync`: Chromium before 2023 instantiates at most 4 KB at once on a page.
    await glue.default({ module_or_path: module });
    Object.assign(glue.View.prototype, saving);
    const client = await glue.Client.start({ ...options, server, worker: engine.worker, ...socket });
    workers.set(client, engine.worker);
    return client;
  } catch (error) {
    engine.worker.terminate();
    throw error;
  }
}

/** What few people ask a view for comes when they do. */
const saving: Pick<View, 'download' | 'stream'> & ThisType<View> = {
  async download(file) {
    return (await import('./whole')).blob(this, file);
  },
  async stream(file) {
    return (await import('./whole')).stream(this, file);
  },
};

function beginEngine(build: Build): Engine {
  const simd = build === 'simd';
  const module = compile(simd ? simdWasm : mvpWasm);
  const worker = startWorker(absolute(simd ? simdWorker : mvpWorker));
  const glue = loadGlue(absolute(simd ? simdWorker : mvpWorker), build);
  module.then(
    (compiled) => worker.postMessage({ module: compiled, ac3: absolute(ac3Worker) }),
    () => undefined, // startClient reports it
  );
  glue.catch(() => undefined);
  const failed = new Promise<never>((_, reject) => {
    // Only an exception has words; a script that did not come has none.
    const why = (event: ErrorEvent): BootError =>
      event.message ? new BootError('engine-stopped', event.message) : new BootError('server-lost', 'worker');
    worker.addEventListener('error', (event) => reject(why(event)), { once: true });
  });
  failed.catch(() => undefined);
  return { build, module, worker, failed, glue };
}

/** The worker's script is the page's glue too (worker-main.ts): one file to fetch instead of two that are nearly the same. */
async function loadGlue(url: string, build: Build): Promise<Glue> {
  try {
    await import(/* @vite-ignore */ url);
  } catch (error) {
    throw new BootError('server-lost', String(error));
  }
  return (globalThis as unknown as Record<string, Glue>)[`batonGlue_${build}`]!;
}

async function compile(url: string): Promise<WebAssembly.Module> {
  let response: Response;
  try {
    response = await fetch(absolute(url));
  } catch (error) {
    throw new BootError('server-lost', String(error));
  }
  if (!response.ok) throw new BootError('server-lost', `${response.status} ${url}`);
  const streamed = response.headers.get('content-type') === 'application/wasm';
  if (streamed && WebAssembly.compileStreaming) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** A page of another origin may not start our worker by its address, but may start a Blob that imports it. */
function startWorker(url: string): Worker {
  if (new URL(url).origin === location.origin) return new Worker(url);
  const blob = new Blob([`importScripts(${JSON.stringify(url)})`], { type: 'text/javascript' });
  const blobUrl = URL.createObjectURL(blob);
  const worker = new Worker(blobUrl);
  URL.revokeObjectURL(blobUrl);
  return worker;
}

const absolute = (url: string): string => new URL(url, import.meta.url).href;

/** The first thing that Baton needs and this browser lacks. */
function missingFeature(): string | null {
  if (typeof WebAssembly !== 'object') return 'WebAssembly';
  if (typeof Worker !== 'function') return 'Worker';
  if (typeof RTCPeerConnection !== 'function') return 'WebRTC';
  return null;
}

function chooseBuild(): Build {
  const forced = /[?&]wasm=(mvp|simd)\b/.exec(location.search);
  if (forced) return forced[1] as Build;
  return WebAssembly.validate(NEEDS_SIMD) ? 'simd' : 'mvp';
}

/**
 * A module with one function: `i32.const 0; i8x16.splat; i8x16.popcnt; drop; ref.null extern; drop`.
 * Chromium 91–95 has SIMD without reference types, which rustc's default output uses: both must be there.
 */
// prettier-ignore
const NEEDS_SIMD = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
  0x01, 0x04, 0x01, 0x60, 0x00, 0x00, //             type 0: () -> ()
  0x03, 0x02, 0x01, 0x00, //                         function 0 of type 0
  0x0a, 0x0e, 0x01, 0x0c, 0x00, //                   code: one body of 12 bytes, no locals
  0x41, 0x00, 0xfd, 0x0f, 0xfd, 0x62, 0x1a, //       i32.const 0, i8x16.splat, i8x16.popcnt, drop
  0xd0, 0x6f, 0x1a, 0x0b, //                         ref.null extern, drop, end
]);
