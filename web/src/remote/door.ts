/**
 * The doors of the remote control: sockets, the clock, randomness. What is said on them is decided by `remote-wasm`, a module of its own that only
 * televisions and those who play on one load.
 */
import type { Command, Output, Report } from './words';
import init, { Phone as WasmPhone, Tv as WasmTv } from '../wasm/remote/remote.js';
import wasm from '../wasm/remote/remote_bg.wasm?url';

/** signal-protocol's `SUBPROTOCOL`. */
const SUBPROTOCOL = 'baton.1';
const TICK_MS = 1000;

/** What both ends of `remote-wasm` have. */
interface Machine {
  poll(): unknown;
  opened(line: number, now_ms: number): void;
  closed(line: number, now_ms: number): void;
  received(line: number, bytes: Uint8Array, now_ms: number): void;
  tick(now_ms: number): void;
  free(): void;
}

export interface Told {
  (output: Output): void;
}

let loading: Promise<unknown> | null = null;

/** Loads the module once. Rejects when it does not come; the next call tries again. */
export async function load(): Promise<void> {
  loading ??= init({ module_or_path: new URL(wasm, import.meta.url) });
  try {
    await loading;
  } catch (error) {
    loading = null;
    throw error;
  }
}

/** A machine with its sockets. Outputs that are no socket's affair go to `told`. */
export class Door<M extends Machine> {
  readonly #sockets = new Map<number, WebSocket>();
  readonly #timer: number;
  #pumping = false;
  #over = false;

  constructor(
    readonly machine: M,
    readonly told: Told,
  ) {
    this.#timer = window.setInterval(() => this.do((it) => it.tick(Date.now())), TICK_MS);
    this.pump();
  }

  /** Asks something of the machine, and does what comes of it. */
  do<R>(what: (machine: M) => R): R | undefined {
    if (this.#over) return undefined;
    const result = what(this.machine);
    this.pump();
    return result;
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    for (const line of [...this.#sockets.keys()]) this.#hangUp(line);
    this.machine.free();
  }

  /** An output may lead to a call that has outputs of its own: they wait for their turn. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let output = this.#next(); output; output = this.#next()) this.#handle(output);
    this.#pumping = false;
  }

  #next(): Output | null {
    return this.#over ? null : (this.machine.poll() as Output | null);
  }

  #handle(output: Output): void {
    if ('dial' in output) this.#dial(output.dial.line);
    else if ('hangup' in output) this.#hangUp(output.hangup.line);
    else if ('send' in output) {
      const socket = this.#sockets.get(output.send.line);
      if (socket && socket.readyState === WebSocket.OPEN) socket.send(output.send.bytes as Uint8Array<ArrayBuffer>);
    } else this.told(output);
  }

  #dial(line: number): void {
    this.#hangUp(line);
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`, SUBPROTOCOL);
    socket.binaryType = 'arraybuffer';
    this.#sockets.set(line, socket);
    const ours = (): boolean => this.#sockets.get(line) === socket;
    socket.onopen = () => ours() && this.do((it) => it.opened(line, Date.now()));
    socket.onclose = () => {
      if (!ours()) return;
      this.#sockets.delete(line);
      this.do((it) => it.closed(line, Date.now()));
    };
    socket.onmessage = ({ data }) => {
      if (ours() && data instanceof ArrayBuffer) this.do((it) => it.received(line, new Uint8Array(data), Date.now()));
    };
  }

  #hangUp(line: number): void {
    const socket = this.#sockets.get(line);
    this.#sockets.delete(line);
    socket?.close();
  }
}

export type TvDoor = Door<WasmTv>;
export type PhoneDoor = Door<WasmPhone>;

export function openTv(saved: Uint8Array, name: string, told: Told): TvDoor {
  return new Door(new WasmTv(random(), location.host, saved, name, Date.now()), told);
}

/** How a telephone gets to a television. */
export type Way = { code: string } | { token: string } | { known: Uint8Array };

/** `null`: that is no code, token, or memory of a television. */
export function openPhone(way: Way, label: string, told: Told): PhoneDoor | null {
  const now = Date.now();
  const host = location.host;
  const machine =
    'code' in way
      ? WasmPhone.withCode(random(), host, way.code, label, now)
      : 'token' in way
        ? WasmPhone.withToken(random(), host, way.token, label, now)
        : WasmPhone.withKnown(random(), host, way.known, label, now);
  return machine ? new Door(machine, told) : null;
}

export function say(door: PhoneDoor, command: Command): boolean {
  return door.do((it) => it.command(command, Date.now())) ?? false;
}

export function report(door: TvDoor, what: Report): void {
  door.do((it) => it.report(what));
}

/** To the telephone of this id alone. */
export function answer(door: TvDoor, phone: string, what: Report): void {
  door.do((it) => it.answer(phone, what));
}

const random = (): Uint8Array => crypto.getRandomValues(new Uint8Array(32));
