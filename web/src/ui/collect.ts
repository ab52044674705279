/** Several files and folders become one stream: found, put in order, and given a name. */
import { shareMessages } from '../messages-share';

/** All files below what was dropped, each with its path, as a directory picker has it. */
export async function walk(entries: FileSystemEntry[]): Promise<File[]> {
  const found: File[] = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      const path = entry.fullPath.slice(1);
      if (path.includes('/')) Object.defineProperty(file, 'webkitRelativePath', { value: path });
      found.push(file);
    } else found.push(...(await walk(await list(entry as FileSystemDirectoryEntry))));
  }
  return found;
}

/** A reader tells a hundred at a time. */
async function list(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const more = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (more.length === 0) return found;
    found.push(...more);
  }
}

export const isSubtitles = (path: string): boolean => /\.(srt|vtt|ass|ssa)$/i.test(path);

/** In the order that people expect (2 before 10), without what systems hide, and what they are called together. */
export function tidy(files: File[]): { files: File[]; title: string } {
  const path = (file: File): string => file.webkitRelativePath || file.name;
  const shown = files.filter((file) => !/(^|\/)\./.test(path(file)));
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  const order = (a: File, b: File): number => compare(path(a), path(b));
  const folder = shown[0] ? path(shown[0]).split('/', 1)[0]! + '/' : '';
  const together = shown.every((file) => path(file).startsWith(folder));
  shown.sort(order);
  // A film is called by its own name, whatever subtitles lie beside it.
  const films = shown.filter((file) => !isSubtitles(path(file)));
  const called = films.length === 1 ? films : shown;
  const title = together ? folder.slice(0, -1) : shareMessages.files(called[0]?.name ?? '', called.length);
  return { files: shown, title };
}
