/** The picture over the seek bar: what the film shows there, as far as that is here. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { View } from '../api';
import { baton } from '../session';
import { Looker, lookInto, type Look, type Seen } from '../still';
import './thumbs.css';

/** `at_s`: where the person points; `left`: how far along the bar that is, 0 to 1. */
export function Thumb({ at_s, left }: { at_s: number | null; left: number }) {
  return <Peek at_s={at_s} left={left} look={lookHere} />;
}

/** The same of whatever film this looks into. */
export function Peek({ at_s, left, look }: { at_s: number | null; left: number; look: Look }) {
  const [seen, tell] = useState<Seen | null>(null);
  const looker = useRef<Looker | null>(null);
  const place = useRef<HTMLSpanElement>(null);
  looker.current ??= new Looker(look, tell);
  useEffect(() => looker.current!.at(at_s), [at_s]);
  useEffect(() => () => looker.current!.at(null), []);
  // With the very drawing that says its time: never one picture under another's.
  useLayoutEffect(() => {
    if (!seen || !place.current) return;
    place.current.textContent = '';
    place.current.append(seen.picture);
  }, [seen]);
  if (!seen) return null;
  return <span class="thumb" ref={place} data-testid="thumb" data-at={seen.at_s} style={{ '--left': left }} />;
}

let looking: { view: View; look: Look } | null = null;

function lookHere(at_s: number): Promise<Seen | null> {
  const view = baton.view;
  if (!view) return Promise.resolve(null);
  if (looking?.view !== view) looking = { view, look: lookInto(view) };
  return looking.look(at_s);
}
