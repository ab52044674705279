/** The panels come after the first picture, and their looks with them. */
import { loadStyle } from '../remote/style';
import { lazy } from './lazy';
import styles from './panels.css?url';

export const loadLooks = (): Promise<void> => loadStyle(styles);
export const Panels = lazy(() => Promise.all([import('./panels'), loadLooks()]).then(([part]) => part.Panels));
