// A wire tap between browsers and the server: it keeps every byte that the server gets, and can cut the line.
import { createServer, connect, type Server as TcpServer, type Socket } from 'node:net';
import { once } from 'node:events';

/** What one browser connection sent to the server. */
export interface Heard {
  /** Request lines and headers, as they came. */
  http: Buffer;
  /** Payloads of WebSocket frames, unmasked, in order. */
  messages: Buffer[];
}

export class Proxy {
  readonly heard: Heard[] = [];
  readonly #server: TcpServer;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #cut = false;
  #silent = false;

  private constructor(server: TcpServer, target: number) {
    this.#server = server;
    this.#target = target;
  }

  /** Listens on a free port and passes everything on to `target`, a port of this machine. */
  static async start(target: number): Promise<Proxy> {
    const server = createServer();
    const proxy = new Proxy(server, target);
    server.on('connection', (socket) => proxy.#accept(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return address.port;
  }

  get url(): string {
    return `http://localhost:${this.port}`;
  }

  /** Everything that the server got, in one piece. */
  get everything(): Buffer {
    return Buffer.concat(this.heard.flatMap(({ http, messages }) => [http, ...messages]));
  }

  /** Ends all connections, and all new ones at once. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Accepts WebSockets from now on and says nothing on them, as a proxy whose server hangs; pages still come. */
  silence(): void {
    this.#silent = true;
  }

  /** New connections get through again. */
  mend(): void {
    this.#cut = false;
    this.#silent = false;
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    if (this.#cut) {
      client.destroy();
      return;
    }
    if (this.#silent) {
      this.#sockets.add(client);
      client.on('error', () => undefined);
      client.once('data', (first: Buffer) => {
        if (first.toString('latin1').startsWith('GET /ws')) return;
        client.unshift(first);
        this.#join(client);
      });
      return;
    }
    this.#join(client);
  }

  #join(client: Socket): void {
    const server = connect(this.#target, '127.0.0.1');
    const ear = new Ear();
    this.heard.push(ear);
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => ear.take(chunk));
    server.on('data', (chunk: Buffer) => ear.answer(chunk));
  }
}

/** Follows one connection: HTTP until the server switches protocols, then frames (RFC 6455 §5.2). */
class Ear implements Heard {
  http = Buffer.alloc(0);
  messages: Buffer[] = [];
  #switched = false;
  #rest = Buffer.alloc(0);

  take(chunk: Buffer): void {
    if (!this.#switched) {
      this.http = Buffer.concat([this.http, chunk]);
      return;
    }
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let frame = this.#frame(); frame; frame = this.#frame()) this.messages.push(frame);
  }

  answer(chunk: Buffer): void {
    if (this.#switched || !chunk.subarray(0, 32).toString('latin1').startsWith('HTTP/1.1 101')) return;
    this.#switched = true;
    // Compressed frames would hide what they carry.
    if (/sec-websocket-extensions/i.test(chunk.toString('latin1'))) throw new Error('the server agreed on an extension');
  }

  /** The next whole frame's payload. Browsers mask every frame. */
  #frame(): Buffer | null {
    const bytes = this.#rest;
    if (bytes.length < 2) return null;
    let length = bytes[1]! & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) return null;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return null;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    if (bytes.length < at + 4 + length) return null;
    const mask = bytes.subarray(at, at + 4);
    const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + length));
    for (let i = 0; i < payload.length; i++) payload[i]! ^= mask[i % 4]!;
    this.#rest = bytes.subarray(at + 4 + length);
    return payload;
  }
}
