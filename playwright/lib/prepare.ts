// Makes the films before the first test, so that no test's patience is spent on encoding.
import { allFilms } from './media.ts';

export default async function prepare(): Promise<void> {
  await allFilms();
}
