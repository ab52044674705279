// Makes the films before the first test, so that no test's patience is spent on encoding, and a sound card for all of them.
import { allFilms } from './media.ts';
import { startSound } from './sound.ts';

export default async function prepare(): Promise<() => Promise<void>> {
  await allFilms();
  return startSound();
}
