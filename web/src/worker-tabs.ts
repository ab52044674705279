/**
 * Connections from one tab's engine to another's, for the engine's worker, which imports this script when there is another tab with the
 * same stream (worker-main.ts). Built as a classic script.
 *
 * Each is a BroadcastChannel of its own between the two workers, and looks to the engine like two data channels.
 */
import type { TabNews } from './tabs';

/** bridge.rs: `HOT_TAB` and `TAB_CONNS`. */
const HOT_TAB = 12;
const TAB_CONNS = 2 ** 40;
/** What is received is acknowledged after so many bytes: an eighth of what the engine lets wait. */
const ACK_BYTES = 128 * 1024;

/** Number of the channel and what was sent on it, or how many bytes of it have come; or that an end is there, or gone. */
type Word = [number, ArrayBuffer | number] | 'here' | 'gone';

class Wire extends EventTarget {
  binaryType = 'arraybuffer';
  bufferedAmountLowThreshold = 0;
  readyState = 'connecting';
  #sent = 0;
  #taken = 0;
  #came = 0;
  #said = 0;

  constructor(
    private readonly say: (word: ArrayBuffer | number) => void,
    private readonly end: () => void,
  ) {
    super();
  }

  get bufferedAmount(): number {
    return this.#sent - this.#taken;
  }

  send(data: ArrayBuffer | Uint8Array): void {
    if (this.readyState !== 'open') throw new DOMException('the other tab is gone', 'InvalidStateError');
    this.#sent += data.byteLength;
    // A view is cloned with all that it is a view of.
    this.say(data instanceof ArrayBuffer ? data : (data.slice().buffer as ArrayBuffer));
  }

  /** By the engine, which does not want to hear of it. */
  close(): void {
    if (this.readyState !== 'closed') this.end();
  }

  become(state: 'open' | 'closed'): void {
    this.readyState = state;
    this.dispatchEvent(new Event(state === 'open' ? 'open' : 'close'));
  }

  hear(word: ArrayBuffer | number): void {
    if (typeof word === 'number') {
      const before = this.bufferedAmount;
      this.#taken = word;
      const low = this.bufferedAmountLowThreshold;
      if (before > low && this.bufferedAmount <= low) this.dispatchEvent(new Event('bufferedamountlow'));
      return;
    }
    this.#came += word.byteLength;
    this.dispatchEvent(new MessageEvent('message', { data: word }));
    if (this.#came - this.#said < ACK_BYTES) return;
    this.#said = this.#came;
    this.say(this.#came);
  }
}

const connections = new Map<string, () => void>();
let next = TAB_CONNS;

function connect(id: string, stream: number, peer: ArrayBuffer, offerer: boolean): void {
  const channel = new BroadcastChannel(`baton tab ${id}`);
  const say = (word: Word): void => channel.postMessage(word);
  const end = (): void => {
    if (!connections.delete(id)) return;
    say('gone');
    channel.close();
    for (const wire of wires) wire.become('closed');
    postMessage({ ended: id });
  };
  const wires = [0, 1].map((number) => new Wire((word) => say([number, word]), end));
  connections.set(id, end);
  channel.onmessage = ({ data: word }: MessageEvent<Word>) => {
    if (word === 'gone') end();
    else if (word !== 'here') wires[word[0]]!.hear(word[1]);
    else if (wires[0]!.readyState === 'connecting') {
      // Whichever end came first said so to nobody.
      say('here');
      for (const wire of wires) wire.become('open');
      postMessage({ began: id });
    }
  };
  const nonce = Uint8Array.from(id.match(/../g)!, (byte) => parseInt(byte, 16));
  dispatchEvent(new MessageEvent('message', { data: [HOT_TAB, stream, next++, wires[0], wires[1], peer, nonce, offerer] }));
  say('here');
}

(globalThis as unknown as { batonTab: unknown }).batonTab = (news: TabNews): void => {
  if ('gone' in news) connections.get(news.id)?.();
  else connect(news.id, news.stream, news.peer, news.offerer);
};
