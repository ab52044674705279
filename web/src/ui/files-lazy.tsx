/** Most streams are one file: what several need comes with them. */
import { lazy } from './lazy';
import { loadLooks } from './panels-lazy';

const load = () => Promise.all([import('./files'), loadLooks()]).then(([part]) => part);

export const Files = lazy(() => load().then((part) => part.Files));
export const Playlist = lazy(() => load().then((part) => part.Playlist));
