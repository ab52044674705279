/** What the file says of itself: nobody needs it before the first picture. */
import { lazy } from './lazy';

export const About = lazy(() => import('./about').then((part) => part.About));
export const Tags = lazy(() => import('./about').then((part) => part.Tags));
