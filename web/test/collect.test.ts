import { describe, expect, it } from 'vitest';
import { tidy, walk } from '../src/ui/collect';

/** What a browser gives for something that was dropped: a reader tells a hundred entries at a time, and none in the end. */
function file(fullPath: string): FileSystemEntry {
  const entry = { isFile: true, isDirectory: false, fullPath, file: (found: (file: File) => void) => found(new File(['x'], fullPath.split('/').at(-1)!)) };
  return entry as unknown as FileSystemEntry;
}

function folder(fullPath: string, inside: FileSystemEntry[]): FileSystemEntry {
  const createReader = () => {
    let at = 0;
    return { readEntries: (found: (entries: FileSystemEntry[]) => void) => found(inside.slice(at, (at += 100))) };
  };
  return { isFile: false, isDirectory: true, fullPath, createReader } as unknown as FileSystemEntry;
}

const paths = (files: File[]): string[] => files.map((it) => it.webkitRelativePath || it.name);

describe('what was dropped', () => {
  it('is walked through to its last file, however many a folder has', async () => {
    const many = Array.from({ length: 250 }, (_, n) => file(`/show/part/${n}.mp4`));
    const found = await walk([folder('/show', [file('/show/readme.txt'), folder('/show/part', many), folder('/show/empty', [])]), file('/alone.mp4')]);
    expect(found).toHaveLength(252);
    expect(paths(found).slice(0, 3)).toEqual(['show/readme.txt', 'show/part/0.mp4', 'show/part/1.mp4']);
    expect(paths(found).at(-1)).toBe('alone.mp4');
  });

  it('is put in order and named, without what systems hide', async () => {
    const found = await walk([folder('/show', [file('/show/10.mp4'), file('/show/2.mp4'), file('/show/.DS_Store'), folder('/show/.git', [file('/show/.git/head')])])]);
    const { files, title } = tidy(found);
    expect([title, ...paths(files)]).toEqual(['show', 'show/2.mp4', 'show/10.mp4']);
  });

  it('says so when a folder cannot be read', async () => {
    const refused = { isFile: false, isDirectory: true, fullPath: '/x', createReader: () => ({ readEntries: (_: unknown, failed: (error: Error) => void) => failed(new Error('no')) }) };
    await expect(walk([refused as unknown as FileSystemEntry])).rejects.toThrow('no');
  });
});
