/** Beside the player: what it is, passing it on, and what goes on. */
import { useEffect, useState } from 'preact/hooks';
import { bytes, clock } from '../format';
import { messages } from '../messages';
import { baton } from '../session';
import { About } from './about-lazy';
import { PlayOnTv } from './cast';
import { CopyButton } from './copy';
import { Files } from './files-lazy';
import { DownloadButton, Saves } from './save-lazy';
import { FileCard } from './file-card';
import { Panels } from './panels-lazy';
import { duration, fullscreen, hasPicture, waiting } from './playback';
import { ProblemNote } from './problem';
import { isFile, link, meta, problem, said, viewStats } from './state';
import { PassOnSwitch } from './switch';

const words = messages.watch;

export function WatchPage() {
  const stats = viewStats.value;
  const what = meta.value;
  const trouble = problem.value;
  const file = isFile.value;
  // Before the first picture, and in full screen, the stage itself says what is wrong.
  const below = trouble && ((hasPicture.value && !fullscreen.value) || file);
  const more = useMore(hasPicture.value || file || trouble !== null);
  return (
    <div class="watching">
      {below && <ProblemNote problem={trouble} where="bar" />}
      {file && what ? (
        <FileCard what={what} stats={stats} />
      ) : (
        <header class="page-head">
          <div>
            {what && <h1 class="name">{what.title}</h1>}
            <Facts />
            {said.value && <About />}
          </div>
          <div class="page-actions">
            {what && <PlayOnTv link={link.value} />}
            {what && <CopyButton text={link.value} />}
            {what && more && <DownloadButton what={what} />}
          </div>
        </header>
      )}
      {what && more && <Saves what={what} />}
      {what?.folder && <Files what={what} />}
      {stats && what && (
        <section class="card pass-on">
          <p>{passOnSentence(stats.paused, stats.bytes_sent, file)}</p>
          <PassOnSwitch stream={baton.view} paused={stats.paused} />
        </section>
      )}
      {stats && what && more && <Panels stats={stats} film={!file} />}
    </div>
  );
}

/** What draws more than this page's own file holds comes after the picture, or once it takes long: its files would only be in the way. */
function useMore(now: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return now || late;
}

/** How long a picture may take until then, milliseconds. */
const PATIENCE_MS = 3000;

/** Length, size, and how far we are: one line. */
function Facts() {
  const what = meta.value;
  const stats = viewStats.value;
  // Of several files, the length of one says nothing beside the size of all.
  const length = what?.duration_s || (!what?.folder && duration.value);
  const facts = [
    length ? clock(length) : '',
    what ? bytes(what.size) : '',
  ].filter((fact) => fact !== '');
  // Until there is a picture, the stage says it.
  const onStage = !hasPicture.value && !isFile.value;
  const phase = stats?.phase ?? 'starting';
  return (
    <p class="facts">
      {facts.map((fact) => (
        <span class="fact">{fact}</span>
      ))}
      {!onStage && (
        <span class="fact" data-testid="status" role="status">
          {waiting.value && !stats?.complete ? words.buffering : words.status(phase, what?.playable ?? true)}
        </span>
      )}
    </p>
  );
}

function passOnSentence(paused: boolean, sent: number, file: boolean): string {
  if (paused) return words.passOnPaused;
  if (sent < 1000) return file ? words.passOnFile : words.passOn;
  return file ? words.passedOnFile(sent) : words.passedOn(sent);
}
