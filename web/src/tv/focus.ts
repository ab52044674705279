/**
 * Four arrows: where the focus goes from here. Real focusable elements and their rectangles decide, nothing else.
 *
 * @bbc/tv-lrud-spatial does the same, but its package brings 165 build tools along as dependencies (babel, chokidar); this is what we need of it.
 */

export type Way = 'left' | 'right' | 'up' | 'down';

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Which of these boxes lies that way: the nearest one, where lying beside counts more than lying near. -1: none. */
export function nextBox(from: Box, boxes: Box[], way: Way): number {
  let best = -1;
  let least = Infinity;
  boxes.forEach((box, i) => {
    const cost = distance(turned(from, way), turned(box, way));
    if (cost < least) {
      least = cost;
      best = i;
    }
  });
  return best;
}

/** As if the way were to the right. */
function turned({ left, top, right, bottom }: Box, way: Way): Box {
  if (way === 'right') return { left, top, right, bottom };
  if (way === 'left') return { left: -right, top, right: -left, bottom };
  if (way === 'down') return { left: top, top: left, right: bottom, bottom: right };
  return { left: -bottom, top: left, right: -top, bottom: right };
}

function distance(from: Box, to: Box): number {
  // It must begin beyond where we begin and end beyond where we end.
  if (to.left <= from.left || to.right <= from.right) return Infinity;
  const along = Math.max(0, to.left - from.right);
  const aside = Math.max(0, to.top - from.bottom, from.top - to.bottom);
  const middles = Math.abs((to.top + to.bottom) / 2 - (from.top + from.bottom) / 2);
  // Straight on comes before anything that is aside, however near.
  return along + 4 * aside + middles / 50;
}

/** Moves the focus within this part of the page. False: there is nothing that way. */
export function moveFocus(scope: Element, way: Way): boolean {
  const all = focusables(scope);
  const now = document.activeElement;
  if (!now || !scope.contains(now) || now === scope) {
    all[0]?.focus();
    return all.length > 0;
  }
  const others = all.filter((it) => it !== now);
  const next = others[nextBox(now.getBoundingClientRect(), others.map((it) => it.getBoundingClientRect()), way)];
  next?.focus();
  return next !== undefined;
}

export function focusables(scope: Element): HTMLElement[] {
  const all = [...scope.querySelectorAll<HTMLElement>('button, input, a[href], [tabindex="0"]')];
  return all.filter((it) => !(it as HTMLButtonElement).disabled && it.getClientRects().length > 0);
}
