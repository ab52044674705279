/** The picture over the remote's seek bar: out of the film that this page has itself, or else of what the television has seen of it. */
import { baton, session } from '../session';
import { lookInto, type Look, type Seen } from '../still';
import { Peek } from '../ui/thumbs';
import * as remote from './session';
import { whole } from './words';

export function Thumb() {
  const ms = remote.aim.value;
  const all = remote.state.value ? remote.state.value.durationMs : 0;
  return <Peek at_s={ms === null ? null : ms / 1000} left={ms !== null && all > 0 ? ms / all : 0} look={look} />;
}

let own: { view: object; look: Look } | null = null;

async function look(at_s: number): Promise<Seen | null> {
  const view = baton.view;
  const state = remote.state.value;
  if (view && state && whole(state.link) === session.link) {
    if (own?.view !== view) own = { view, look: lookInto(view) };
    const seen = await own.look(at_s);
    if (seen) return seen;
  }
  const picture = await remote.peek(at_s * 1000);
  return picture && { at_s: picture.atMs / 1000, picture: await image(picture.jpeg) };
}

async function image(jpeg: Uint8Array): Promise<HTMLImageElement> {
  const url = URL.createObjectURL(new Blob([jpeg as Uint8Array<ArrayBuffer>], { type: 'image/jpeg' }));
  const picture = new Image();
  picture.src = url;
  try {
    await picture.decode();
  } finally {
    URL.revokeObjectURL(url);
  }
  return picture;
}
