/** A part of the page that may come after the first picture. Shows nothing until its code is here. */
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let loaded: ComponentType<P> | null = null;
  return (props: P) => {
    const [, redraw] = useState(0);
    useEffect(() => {
      if (loaded) return;
      let here = true;
      load().then(
        (part) => {
          loaded = part;
          if (here) redraw((n) => n + 1);
        },
        () => undefined, // the page works without it
      );
      return () => {
        here = false;
      };
    }, []);
    const Part = loaded;
    return Part ? <Part {...props} /> : null;
  };
}
