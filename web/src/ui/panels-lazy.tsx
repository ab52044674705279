/** The panels come after the first picture. */
import { lazy } from './lazy';

export const Panels = lazy(() => import('./panels').then((part) => part.Panels));
