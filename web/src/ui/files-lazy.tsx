/** Most streams are one file: what several need comes with them. */
import { lazy } from './lazy';

export const Files = lazy(() => import('./files').then((part) => part.Files));
export const Playlist = lazy(() => import('./files').then((part) => part.Playlist));
