/** Sound tracks, subtitles and chapters: most films have nothing to choose, so this comes when one has. */
import { lazy } from './lazy';

export const TracksMenu = lazy(() => import('./tracks').then((part) => part.TracksMenu));
export const ChapterMarks = lazy(() => import('./tracks').then((part) => part.ChapterMarks));
