/** The files of a stream that has several: each is played or saved by itself, and films play on to the next. */
import { useEffect, useState } from 'preact/hooks';
import type { Meta } from '../api';
import { bytes, clock } from '../format';
import { messages } from '../messages';
import { baton, theVideo } from '../session';
import { FileSave } from '../save/panel';
import { PlayIcon } from './icons';
import { forget, video } from './playback';
import { meta, viewStats } from './state';

const words = messages.files;
/** Rows drawn at once; a list of ten thousand takes a page seconds. */
const ROWS = 300;

export function Files({ what }: { what: Meta }) {
  const [all, setAll] = useState(false);
  const rows = all ? what.files : what.files.slice(0, ROWS);
  return (
    <section class="card files">
      <h2>{words.count(what.files.length)}</h2>
      <ol data-testid="files">
        {rows.map((file, index) => (
          <Row key={index} what={what} file={file} index={index} />
        ))}
      </ol>
      {rows.length < what.files.length && (
        <button class="button button-quiet" onClick={() => setAll(true)}>
          {words.all(what.files.length)}
        </button>
      )}
    </section>
  );
}

function Row({ what, file, index }: { what: Meta; file: Meta['files'][number]; index: number }) {
  const now = viewStats.value?.file === index;
  const cut = file.path.lastIndexOf('/') + 1;
  const name = (
    <>
      {cut > 0 && <small>{file.path.slice(0, cut)}</small>}
      <span>{file.path.slice(cut)}</span>
    </>
  );
  return (
    <li class={now ? 'file file-now' : 'file'} data-testid="file">
      {file.playable ? (
        <button class="file-name" aria-current={now} onClick={() => playFile(index)}>
          <PlayIcon />
          <span>{name}</span>
        </button>
      ) : (
        <p class="file-name">
          <span>{name}</span>
        </p>
      )}
      <span class="file-facts">{file.duration_s ? `${clock(file.duration_s)} · ${bytes(file.size)}` : bytes(file.size)}</span>
      <FileSave what={what} name={file.path.slice(cut)} index={index} />
    </li>
  );
}

function playFile(index: number): void {
  forget();
  baton.view?.attach(theVideo(), index);
}

/** Draws nothing: when a film is over, the next one begins. */
export function Playlist() {
  useEffect(() => {
    const next = (): void => {
      const now = viewStats.value?.file ?? Infinity;
      const index = meta.value?.files.findIndex((file, at) => at > now && file.playable) ?? -1;
      if (index >= 0) playFile(index);
    };
    video.addEventListener('ended', next);
    return () => video.removeEventListener('ended', next);
  }, []);
  return null;
}
