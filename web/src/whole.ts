/** A file of a view as one stream or one Blob, from the pieces that the engine hands out. */
import type { Meta, View } from './api';

/** What client-wasm's View has besides: see `View::read` and `View::release` there. */
export interface Readable extends View {
  read(reader: number, file: number, piece: number): Promise<ArrayBuffer>;
  release(): void;
}

/** content's `PIECE_LEN`. */
export const PIECE = 1 << 20;
/** Pieces that are asked for before they are taken: one is opened and hashed while another is written. */
const AHEAD = 4;

let readers = 0;

/** The whole is not what its publisher hashed. */
export class OtherBytes extends Error {}

/** Reads a file from its beginning to its end. */
export class Reader {
  /** Bytes handed out. */
  at = 0;
  /** Plain BLAKE3 of what was handed out, in hex; `null` before the end. */
  hash: string | null = null;
  readonly #view: Readable;
  readonly #number = readers++;
  readonly #asked: Promise<ArrayBuffer>[] = [];
  readonly #pieces: number;
  #next = 0;

  private constructor(
    view: View,
    readonly file: number,
    readonly meta: Meta['files'][number],
  ) {
    this.#view = view as Readable;
    this.#pieces = Math.ceil(meta.size / PIECE);
  }

  static async open(view: View, file = 0): Promise<Reader> {
    const meta = (await view.meta).files[file];
    if (!meta) throw new RangeError('there is no such file');
    return new Reader(view, file, meta);
  }

  /** The next bytes once they are here; `null` at the end, where they are compared with what the publisher hashed. */
  async next(): Promise<Uint8Array<ArrayBuffer> | null> {
    while (this.#asked.length < AHEAD && this.#next < this.#pieces) {
      const asked = this.#view.read(this.#number, this.file, this.#next);
      asked.catch(() => undefined); // whoever takes it hears it
      this.#asked.push(asked);
      this.#next++;
    }
    const first = this.#asked.shift();
    if (!first) return this.#end();
    const bytes = new Uint8Array(await first);
    this.at += bytes.length;
    return bytes;
  }

  async #end(): Promise<null> {
    if (this.at !== this.meta.size) throw new Error('the pieces are not as long as the publisher said');
    if (this.hash !== null) return null;
    const hash = new Uint8Array(await this.#view.read(this.#number, this.file, this.#pieces));
    this.hash = Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
    const expected = await this.expected();
    if (expected !== null && expected !== this.hash) {
      throw new OtherBytes('the file is not what its publisher hashed: it changed while it was shared');
    }
    return null;
  }

  /** What the publisher hashed, as far as that is known by now. */
  async expected(): Promise<string | null> {
    return (await this.#view.meta).files[this.file]!.blake3;
  }
}

/** client-wasm's `PLACES`: the reader who looks at single places, in any order, of which nothing is hashed. */
const PLACES = 0xffffffff;
/** client-wasm's `PLAYER`: the same, for somebody who waits for it. */
export const PLAYER = 0xfffffffe;

/** Looks at single places of a file: bytes `from` to before `to`, once they are here. */
export function places(view: View, file: number): (from: number, to: number) => Promise<Uint8Array> {
  // Places are asked for in small steps, so most of them are in the piece that was read last.
  let last = { piece: -1, bytes: new Uint8Array() };
  return async (from, to) => {
    const bytes = new Uint8Array(to - from);
    for (let piece = Math.floor(from / PIECE); piece * PIECE < to; piece++) {
      if (last.piece !== piece) last = { piece, bytes: new Uint8Array(await (view as Readable).read(PLACES, file, piece)) };
      const start = piece * PIECE;
      const wanted = last.bytes.subarray(Math.max(0, from - start), to - start);
      bytes.set(wanted, Math.max(0, start - from));
    }
    return bytes;
  };
}

export async function stream(view: View, file?: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const reader = await Reader.open(view, file);
  return new ReadableStream(
    {
      async pull(controller) {
        const bytes = await reader.next();
        if (bytes) controller.enqueue(bytes);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

export async function blob(view: View, file?: number): Promise<Blob> {
  const reader = await Reader.open(view, file);
  const parts: Blob[] = [];
  // A Blob of Blobs: the browser takes each piece off this page's heap, to its disk where they are many.
  for (let bytes = await reader.next(); bytes; bytes = await reader.next()) parts.push(new Blob([bytes]));
  return new Blob(parts, { type: reader.meta.mime || 'application/octet-stream' });
}
