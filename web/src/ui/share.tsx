/** The share page: drop something, pass the link, see whether you may leave. */
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { ShareStats } from '../api';
import { bytes, percent } from '../format';
import { FINAL, messages } from '../messages';
import { panelMessages } from '../messages-panels';
import { shareMessages } from '../messages-share';
import { baton, goToLink, linkIn, refuse, shareFiles, stopSharing } from '../session';
import { PlayOnTv } from './cast';
import { CopyButton } from './copy';
import { FileButton } from './file-button';
import { CheckIcon, SendIcon } from './icons';
import { lazy } from './lazy';
import { isRisky } from './leave';
import { Panels } from './panels-lazy';
import { PasteLink } from './paste-link';
import { ProblemNote } from './problem';
import { safety } from './safety';
import { PassOnSwitch } from './switch';
import { bootProblem, isKept, notice, problem, shared, shareStats, shareUrl } from './state';

const loadQr = () => import('./qr');
const Qr = lazy(() => loadQr().then((part) => part.Qr));
const Keep = lazy(() => import('./keep').then((part) => part.Keep));
const Resume = lazy(() => import('./resume').then((part) => part.Resume));
const words = { ...messages.share, ...shareMessages };

export function SharePage() {
  const dragging = useDrop();
  useEffect(() => {
    // The QR code must be there with the link: its code waits ready.
    const timer = setTimeout(() => void loadQr().catch(() => undefined), 300);
    return () => clearTimeout(timer);
  }, []);
  return (
    <>
      {shared.value ? <Sharing /> : <Welcome dragging={dragging.value} />}
      {dragging.value && <div class="drop-veil">{words.dropNow}</div>}
    </>
  );
}

function Welcome({ dragging }: { dragging: boolean }) {
  return (
    <div class="welcome">
      <h1>
        {words.headline.map((line) => (
          <span>{line} </span>
        ))}
      </h1>
      <p class="lead">{words.lead}</p>
      {bootProblem.value && <ProblemNote problem={bootProblem.value} where="page" />}
      <div class={`track${dragging ? ' track-hot' : ''}`} data-testid="drop-zone">
        <Runners />
        <div class="track-field">
          <p class="track-title">{words.drop}</p>
          <FileButton class="button button-main button-large" label={words.choose} onFiles={take} />
          <p class="track-hint">{words.chooseHint}</p>
          <FileButton class="button button-quiet" label={words.chooseFolder} folder onFiles={take} />
        </div>
      </div>
      <Notice />
      <Resume />
      <div class="open-link">
        <p>{words.open}</p>
        <PasteLink />
      </div>
    </div>
  );
}

/** Batons going round the lanes. */
const Runners = () => (
  <svg class="runners" aria-hidden="true">
    {[1, 2, 3].map((lane) => (
      <rect class={`lane-${lane}`} rx="400" pathLength={1000} />
    ))}
  </svg>
);

function Sharing() {
  const what = shared.value!;
  const stats = shareStats.value;
  const trouble = problem.value;
  // A link that leads nowhere any more is not offered.
  const dead = trouble !== null && FINAL.has(trouble.code);
  return (
    <div class="sharing">
      <header class="page-head">
        <div>
          <h1 class="name">{what.name}</h1>
          <p class="facts" data-testid="status" role="status">
            {what.count > 1 && `${messages.files.count(what.count)} · `}
            {bytes(what.size)}
            {stats && ` · ${panelMessages.watching(stats.peers.length, stats.bytes_sent > 0)}`}
          </p>
        </div>
        <div class="page-actions">
          <FileButton class="button" label={words.another} onFiles={take} />
          <button class="button button-quiet" onClick={stopAfterAsking}>
            {words.stop}
          </button>
        </div>
      </header>
      <Notice />
      {trouble && <ProblemNote problem={trouble} where="bar" />}
      {!dead && <LinkCard />}
      {!dead && stats && <Safety stats={stats} />}
      {!dead && stats && baton.share && <Keep ticket={baton.share.ticket} />}
      {stats && <Panels stats={stats} share />}
      {stats && what.count === 1 && (
        <section class="card fingerprint">
          <h2>{words.blake3}</h2>
          <Fingerprint stats={stats} />
        </section>
      )}
    </div>
  );
}

function LinkCard() {
  const url = shareUrl.value;
  const field = useRef<HTMLInputElement>(null);
  const local = /^https?:\/\/(localhost|127\.[\d.]+|\[::1\])(:|\/)/.test(url);
  return (
    <section class="card link-card">
      <div class="link-main">
        <h2>{words.linkLabel}</h2>
        {url === '' ? (
          <p class="share-url">{words.preparing}</p>
        ) : (
          <input
            ref={field}
            class="share-url"
            data-testid="share-url"
            readOnly
            aria-label={words.linkLabel}
            value={url}
            onFocus={(event) => event.currentTarget.select()}
          />
        )}
        <div class="row">
          {url !== '' && <CopyButton text={url} primary field={() => field.current} />}
          {url !== '' && <PlayOnTv link={url} />}
          {url !== '' && typeof navigator.share === 'function' && (
            <button class="button" onClick={() => void navigator.share({ url, title: messages.brand }).catch(() => undefined)}>
              <SendIcon />
              <span>{words.send}</span>
            </button>
          )}
        </div>
        {local && <p class="note">{words.onlyHere}</p>}
      </div>
      {url !== '' && (
        <figure class="qr">
          <Qr text={url} />
          <figcaption>{local ? words.qrLocal : words.qr}</figcaption>
        </figure>
      )}
    </section>
  );
}

/** May I close this page? The sentence, and how far the others are. */
function Safety({ stats }: { stats: ShareStats }) {
  const { safe, title, next } = safety({ ...stats, kept: isKept.value });
  return (
    <section class={`card safety${safe ? ' safety-safe' : ''}`}>
      <div class="safety-words">
        <p class="safety-title" data-testid="safe-to-leave" data-safe={safe}>
          {safe && <CheckIcon />}
          {title}
        </p>
        <p class="safety-next">{next}</p>
      </div>
      <PassOnSwitch stream={baton.share} paused={stats.paused} />
      <div class="lane lane-wide" aria-hidden="true">
        <i style={{ width: percent(stats.others).replace(' ', '') }} />
      </div>
    </section>
  );
}

function Fingerprint({ stats }: { stats: ShareStats }) {
  if (stats.blake3) {
    return (
      <>
        <code data-testid="blake3">{stats.blake3}</code>
        <p class="hint">{words.blake3Hint}</p>
      </>
    );
  }
  if (stats.hash_progress === null) return <p class="hint">{words.hashWaiting}</p>;
  return (
    <>
      <p class="hint">{words.hashing(stats.hash_progress)}</p>
      <progress max={1} value={stats.hash_progress} aria-label={words.blake3} />
    </>
  );
}

function stopAfterAsking(): void {
  if (!isRisky() || confirm(words.stopConfirm)) stopSharing();
}

function take(files: File[], handles: FileSystemHandle[]): void {
  if (files.length === 1 && files[0]!.webkitRelativePath === '') share(files, undefined, handles);
  else if (files.length > 0) takeSeveral(Promise.resolve(files), handles);
}

/** A folder that was dropped is walked through; there may be nothing in it. */
function takeSeveral(found: Promise<File[]>, handles: FileSystemHandle[]): void {
  Promise.all([found, loadCollect()])
    .then(([files, { tidy }]) => {
      const several = tidy(files);
      if (several.files.length > 0) share(several.files, several.title, handles);
      else refuse(words.emptyFolder);
    })
    .catch(() => refuse(words.folderUnreadable));
}

function share(files: File[], title: string | undefined, handles: FileSystemHandle[]): void {
  // A slip of the hand must not end what others are watching.
  if (!isRisky() || confirm(words.replaceConfirm(shared.value!.name))) shareFiles(files, title, handles);
}

const loadCollect = () => import('./collect');

const Notice = () => (notice.value === '' ? null : <p class="notice" role="alert">{notice.value}</p>);

type WithHandle = DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };

/** What a later page may read again; nothing where the browser has no such handles. Called while the event is handled: later it holds nothing. */
async function handlesOf(event: DragEvent): Promise<FileSystemHandle[]> {
  const items = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === 'file') as WithHandle[];
  const asked = items.map((item) => item.getAsFileSystemHandle?.() ?? null);
  const handles: (FileSystemHandle | null)[] = await Promise.all(asked).catch(() => []);
  const known = handles.flatMap((handle) => handle ?? []);
  return known.length === items.length ? known : [];
}

/** The whole window takes what is dropped or pasted: files to share, or a link to open. */
function useDrop() {
  const dragging = useSignal(false);
  // At once: whoever sees the page may drop.
  useLayoutEffect(() => {
    let depth = 0;
    const carries = (event: DragEvent): boolean => [...(event.dataTransfer?.types ?? [])].includes('Files');
    const enter = (event: DragEvent): void => {
      if (!carries(event)) return;
      event.preventDefault();
      depth += 1;
      dragging.value = true;
    };
    const over = (event: DragEvent): void => {
      if (carries(event)) event.preventDefault();
    };
    const leave = (event: DragEvent): void => {
      if (!carries(event)) return;
      depth = Math.max(0, depth - 1);
      dragging.value = depth > 0;
    };
    const drop = (event: DragEvent): void => {
      depth = 0;
      dragging.value = false;
      const files = [...(event.dataTransfer?.files ?? [])];
      const text = event.dataTransfer?.getData('text') ?? '';
      if (files.length === 0 && linkIn(text) === null) return;
      event.preventDefault();
      const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.() ?? null);
      const known = entries.filter((entry) => entry !== null);
      const found = known.some((entry) => entry.isDirectory) ? loadCollect().then(({ walk }) => walk(known)) : null;
      if (!found && files.length === 0) goToLink(text);
      else void handlesOf(event).then((handles) => (found ? takeSeveral(found, handles) : take(files, handles)));
    };
    const paste = (event: ClipboardEvent): void => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length > 0) {
        event.preventDefault();
        take(files, []);
        return;
      }
      if (event.target instanceof HTMLInputElement) return; // its form takes it
      if (goToLink(event.clipboardData?.getData('text') ?? '')) event.preventDefault();
    };
    addEventListener('dragenter', enter);
    addEventListener('dragover', over);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    addEventListener('paste', paste);
    return () => {
      removeEventListener('dragenter', enter);
      removeEventListener('dragover', over);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
      removeEventListener('paste', paste);
    };
  }, []);
  return dragging;
}
