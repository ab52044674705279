/** Pictures over the seek bar: nobody needs them before somebody points at it. */
import { lazy } from './lazy';

export const Thumb = lazy(() => import('./thumbs').then((part) => part.Thumb));
