/** Saving comes after the first picture. */
import { lazy } from './lazy';

export const DownloadButton = lazy(() => import('../save/panel').then((part) => part.DownloadButton));
export const Saves = lazy(() => import('../save/panel').then((part) => part.Saves));
