/** Whoever watches has no use for the share page. */
import { lazy } from './lazy';

export const SharePage = lazy(() => import('./share').then((part) => part.SharePage));
