/** Entry of both pages. First the engine, then the user interface: neither waits for the other. */
import { begin } from './session';

begin();
void import('./ui/app');
