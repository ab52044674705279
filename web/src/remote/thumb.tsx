/**
 * The picture over the remote's seek bar. Out of the film that this page watches, or the file that it shares, where that is what the television plays; else
 * what the television has seen of it.
 */
import { baton, session } from '../session';
import { lookInto, lookIntoFile, small, type Look, type Seen } from '../still';
import { Peek } from '../ui/thumbs';
import * as remote from './session';
import { whole } from './words';

export function Thumb() {
  const ms = remote.aim.value;
  const all = remote.state.value ? remote.state.value.durationMs : 0;
  return <Peek at_s={ms === null ? null : ms / 1000} left={ms !== null && all > 0 ? ms / all : 0} look={look} />;
}

async function look(at_s: number): Promise<Seen | null> {
  return (await ownLook(at_s).catch(() => null)) ?? (await peek(at_s));
}

/** Of several files the television may play another one than this page: they are told apart by their length. */
async function ownLook(at_s: number): Promise<Seen | null> {
  const state = remote.state.value;
  if (!state) return null;
  const [link, all_s] = [whole(state.link), state.durationMs / 1000];
  const [view, files] = [baton.view, session.shared ? session.shared.files : []];
  if (view && link === session.link) {
    const video = document.querySelector('video')!;
    return Math.abs(video.duration - all_s) < SAME_S ? lookFrom(view, () => lookInto(view))(at_s) : null;
  }
  if (baton.share && link === baton.share.url && files.length === 1) {
    const file = files[0]!;
    return lookFrom(file, () => lookIntoFile(file, (seconds) => Math.abs(seconds - all_s) < SAME_S))(at_s);
  }
  return null;
}

/** Lengths differ by a picture or two with who tells them, seconds. */
const SAME_S = 2;

let own: { of: object; look: Look } | null = null;

/** What was seen of this film before is kept. */
function lookFrom(of: object, begin: () => Look): Look {
  if (own?.of !== of) own = { of, look: begin() };
  return own.look;
}

async function peek(at_s: number): Promise<Seen | null> {
  const found = await remote.peek(at_s * 1000);
  if (!found) return null;
  const url = URL.createObjectURL(new Blob([found.jpeg as Uint8Array<ArrayBuffer>], { type: 'image/jpeg' }));
  try {
    const image = new Image();
    const loaded = new Promise((done, failed) => ([image.onload, image.onerror] = [done, failed]));
    image.src = url;
    await loaded;
    // It came from another machine: what claims to be large is not unpacked.
    if (image.naturalWidth > SIDE_MAX || image.naturalHeight > SIDE_MAX) return null;
    return { at_s: found.atMs / 1000, picture: small(image, image.naturalWidth, image.naturalWidth, image.naturalHeight) };
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Televisions send 160 pixels in width, and at most twice that in height. */
const SIDE_MAX = 640;
