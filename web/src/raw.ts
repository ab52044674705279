/**
 * A file that our media engine does not play, given to the browser as it is: `<video src>`, whose requests a service worker (public/raw.js) puts
 * to this page, which answers with verified pieces. A browser may know what we do not.
 *
 * A `<video>` asks the worker that controls its page, so the worker's scope is the page's own address. It stays for as long as a page needs it:
 * Firefox does not start a worker again that was struck off the list. The next page that finds itself under it strikes it off (`sweep`).
 */
import type { FileMeta, View } from './api';
import { PIECE, PLAYER, type Readable } from './whole';

export interface Raw {
  /** The element is somebody else's now, or nobody's. */
  end(): void;
}

/** Ranges that are answered at one time: a browser reads at two or three places. */
const RANGES_MAX = 8;
/** How often the worker is told that it is needed, milliseconds: Firefox stops one after thirty seconds of silence. */
const STAY_MS = 10_000;
/** One that does not start by then is not there, milliseconds. */
const START_MS = 10_000;

/**
 * Plays a file of `meta.files` in this element; `failed` is called if that is over without a picture, or later. A film of which the browser would
 * play the sound alone counts as not played. Never throws.
 */
export function playRaw(plain: View, file: number, { size, mime }: FileMeta, video: HTMLVideoElement, failed: () => void): Raw {
  const view = plain as Readable;
  const path = `/raw/${crypto.randomUUID()}`;
  let over = false;
  let stay = 0;
  let leave = (): void => undefined;
  const answering: MessagePort[] = [];

  const end = (): void => {
    if (over) return;
    over = true;
    clearInterval(stay);
    leave();
    video.removeEventListener('error', onError);
    video.removeEventListener('loadedmetadata', onMetadata);
    video.removeEventListener('emptied', onEmptied);
    navigator.serviceWorker?.removeEventListener('message', onAsked);
    // What is on its way would keep the browser's connection to the worker open.
    if (isOurs()) {
      video.removeAttribute('src');
      video.load();
    }
  };
  const fail = (): void => {
    if (over) return;
    end();
    failed();
  };
  const isOurs = (): boolean => video.src.endsWith(path);
  const onError = (): void => (isOurs() ? fail() : undefined);
  const onMetadata = (): void => {
    if (isOurs() && mime.startsWith('video/') && video.videoWidth === 0) fail();
  };
  /** Another film took the element. */
  const onEmptied = (): void => (isOurs() ? undefined : end());
  const onAsked = ({ data }: MessageEvent<Asked>): void => {
    if (!data?.raw) return;
    if (over || data.raw !== path) return data.port.postMessage(null);
    // A worker that is stopped says no goodbye; one that lives may ask again.
    if (answering.length >= RANGES_MAX) giveUp(answering.shift()!);
    answering.push(data.port);
    answer(view, file, size, data, () => {
      const at = answering.indexOf(data.port);
      if (at >= 0) answering.splice(at, 1);
    });
  };

  const start = async (): Promise<void> => {
    view.release();
    navigator.serviceWorker.addEventListener('message', onAsked);
    // It is for `onmessage` alone otherwise.
    navigator.serviceWorker.startMessages();
    leave = await needed();
    if (over) return leave();
    await soon(controlled());
    if (over) return;
    stay = window.setInterval(() => navigator.serviceWorker.controller?.postMessage('stay'), STAY_MS);
    video.addEventListener('error', onError);
    video.addEventListener('loadedmetadata', onMetadata);
    video.src = path;
    video.addEventListener('emptied', onEmptied);
  };
  // Insecure pages have none, private windows refuse it.
  if (navigator.serviceWorker) start().catch(fail);
  else void Promise.resolve().then(fail);
  return { end };
}

/** What raw.js puts to this page. */
interface Asked {
  raw: string;
  from: number;
  /** The last byte of the range; it may be beyond the file's. */
  to: number;
  port: MessagePort;
}

/** The browser may ask again. */
function giveUp(port: MessagePort): void {
  port.onmessage = null;
  port.postMessage('failed');
  port.close();
}

/** Gives one range over its port, part by part. */
function answer(view: Readable, file: number, size: number, { from, to, port }: Asked, done: () => void): void {
  const end = Math.min(to + 1, size);
  let at = from;
  const close = (): void => {
    port.onmessage = null;
    done();
  };
  port.onmessage = async ({ data }) => {
    if (data !== 'more') return close();
    try {
      const piece = Math.floor(at / PIECE);
      const bytes = at < end ? new Uint8Array(await view.read(PLAYER, file, piece)) : null;
      const part = bytes?.slice(at - piece * PIECE, end - piece * PIECE);
      if (part && part.length > 0) {
        at += part.length;
        port.postMessage(part, [part.buffer]);
      } else {
        port.postMessage('end');
        close();
      }
    } catch {
      port.postMessage('failed');
      close();
    }
  };
  port.postMessage(size);
  if (from >= size) close();
}

/**
 * Once the worker answers for this page. It takes the page when it is active, not before: Firefox lets a page's requests to one that is becoming active
 * wait, and without end if something happens to it then.
 */
async function controlled(): Promise<void> {
  const { serviceWorker } = navigator;
  const registration = await serviceWorker.register('/raw.js', { scope: location.pathname });
  for (;;) {
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    if (worker?.state === 'activated') {
      if (worker === serviceWorker.controller) return;
      worker.postMessage('take');
    }
    await new Promise((changed) => {
      serviceWorker.addEventListener('controllerchange', changed, { once: true });
      worker?.addEventListener('statechange', changed, { once: true });
    });
  }
}

/** Pages that need the worker hold this Web Lock together: whoever has it alone may strike the worker off. */
const LOCK = 'baton raw';

/** From now on this page does, until it calls what it gets. */
function needed(): Promise<() => void> {
  return new Promise((held) => {
    const hold = (): Promise<void> => new Promise((leave) => held(leave));
    // Whoever has workers and no locks (Safari before 15.4) keeps the worker.
    void (navigator.locks?.request(LOCK, { mode: 'shared' }, hold) ?? hold());
  });
}

/** For a page that was loaded under the worker: strikes it off, unless somebody plays by it. */
export async function sweep(): Promise<void> {
  await navigator.locks?.request(LOCK, { ifAvailable: true }, async (lock) => {
    const registration = lock && (await navigator.serviceWorker.getRegistration());
    if (registration?.active?.scriptURL.endsWith('/raw.js')) await registration.unregister();
  });
}

const soon = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([promise, new Promise<never>((_, late) => setTimeout(() => late(new Error('too late')), START_MS))]);
