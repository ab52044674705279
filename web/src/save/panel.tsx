/** Saving what was shared: the buttons, and how far it is. */
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import type { Meta } from '../api';
import { wholePercent } from '../format';
import { saveMessages as words } from '../messages-storage';
import { loadStyle } from '../remote/style';
import { baton } from '../session';
import { CheckIcon, DownIcon } from '../ui/icons';
import { link, meta, viewStats } from '../ui/state';
import { broken, forget, jobs, save, type Job, type Saving } from './job';
import styles from './save.css?url';
import { MEMORY_MAX, TooLarge } from './ways';

type Look = 'idle' | 'busy' | 'saved' | 'failed';

/** Saves one file (`null`: all as a zip) by a click, and says how that stands. */
function useSaving(what: Meta, file: number | null): { look: Look; job: Job | undefined; begin(again?: FileSystemFileHandle): void } {
  const [refused, setRefused] = useState(false);
  const job = jobs.value.find(({ saving }) => saving.link === link.value && saving.file === file);
  const phase = job?.state.value.phase;
  const look = refused ? 'failed' : phase === undefined || phase === 'cancelled' ? 'idle' : phase === 'running' || phase === 'paused' ? 'busy' : phase;
  const begin = (again?: FileSystemFileHandle): void => {
    if (!baton.view || look === 'busy') return;
    setRefused(false);
    save(baton.view, what, link.value, file, again).catch((error) => {
      setRefused(true);
      if (error instanceof TooLarge) tooLarge.value = link.value;
    });
  };
  return { look, job, begin };
}

/** The link of which something cannot be saved here. */
const tooLarge = signal('');

export function DownloadButton({ what, primary }: { what: Meta; primary?: boolean }) {
  const { look, job, begin } = useSaving(what, what.folder ? null : 0);
  const have = viewStats.value?.have ?? 0;
  const fraction = job ? job.state.value.written / Math.max(1, job.saving.size) : 0;
  const label = look === 'busy' ? (have < 1 ? words.fetching(fraction) : words.saving(fraction)) : look === 'saved' ? words.saved : words.download;
  return (
    <button class={primary ? 'button button-main button-large' : 'button'} data-testid="download" data-state={look} aria-disabled={look === 'busy'} onClick={() => begin()}>
      {look === 'saved' ? <CheckIcon /> : <DownIcon />}
      <span>{label}</span>
    </button>
  );
}

/** One of several files. */
export function FileSave({ what, name, index }: { what: Meta; name: string; index: number }) {
  const { look, begin } = useSaving(what, index);
  const label = { idle: words.file, busy: words.fileSaving, saved: words.fileSaved, failed: words.fileFailed }[look](name);
  return (
    <button class={`file-save file-${look}`} data-testid="file-download" data-state={look} aria-label={label} title={label} aria-disabled={look === 'busy'} onClick={() => begin()}>
      {look === 'saved' ? <CheckIcon /> : <DownIcon />}
    </button>
  );
}

/** All that is saved of this link, and what an earlier page was saving of it. */
export function Saves({ what }: { what: Meta }) {
  const [offers, setOffers] = useState<Saving[]>([]);
  const [styled, setStyled] = useState(false);
  useEffect(() => {
    let here = true;
    void broken(link.value).then((found) => here && setOffers(found));
    void loadStyle(styles).then(() => here && setStyled(true));
    return () => {
      here = false;
    };
  }, []);
  const mine = jobs.value.filter(({ saving }) => saving.link === link.value);
  const rest = offers.filter((offer) => !mine.some(({ saving }) => saving.id === offer.id));
  const refused = tooLarge.value === link.value;
  if (!styled || (mine.length === 0 && rest.length === 0 && !refused)) return null;
  return (
    <section class="card saves" data-testid="saves">
      <h2>{words.title}</h2>
      {refused && <p class="field-error" role="alert">{words.tooLarge(MEMORY_MAX)}</p>}
      {rest.map((offer) => (
        <Offer key={offer.id} offer={offer} what={what} onForget={() => setOffers((all) => all.filter((it) => it !== offer))} />
      ))}
      {mine.map((job) => (
        <Row key={job.saving.id} job={job} what={what} />
      ))}
    </section>
  );
}

/** An earlier page was closed in the middle. */
function Offer({ offer, what, onForget }: { offer: Saving; what: Meta; onForget: () => void }) {
  const { begin } = useSaving(what, offer.file);
  return (
    <div class="save" data-testid="save-offer">
      <p>{words.broken(offer.name)}</p>
      <div class="row">
        <button class="button button-main" onClick={() => void mayWrite(offer.handle).then((handle) => begin(handle))}>
          {words.goOn}
        </button>
        <button
          class="button button-quiet"
          onClick={() => {
            void forget(offer);
            onForget();
          }}
        >
          {words.forget}
        </button>
      </div>
    </div>
  );
}

type Asking = FileSystemFileHandle & { requestPermission?(how: { mode: 'readwrite' }): Promise<PermissionState> };

/** The file that the person chose, if it may still be written to: else they choose again. */
async function mayWrite(handle: Asking | undefined): Promise<FileSystemFileHandle | undefined> {
  const answer = await handle?.requestPermission?.({ mode: 'readwrite' }).catch(() => 'denied');
  return answer === 'granted' ? handle : undefined;
}

function Row({ job, what }: { job: Job; what: Meta }) {
  const { saving, state } = job;
  const { phase, written, bps, why } = state.value;
  const busy = phase === 'running' || phase === 'paused';
  const facts = busy ? [words.of(written, saving.size), phase === 'paused' ? words.paused : bps > 0 ? words.rate(bps) : '', bps > 0 ? words.left((saving.size - written) / bps) : ''] : [];
  return (
    <div class="save" data-testid="save" data-phase={phase} data-way={state.value.way}>
      <p class="save-name">{saving.name}</p>
      {busy && (
        <>
          <p class="facts" role="status">
            {facts.filter((fact) => fact !== '').map((fact) => (
              <span class="fact">{fact}</span>
            ))}
          </p>
          <div class="lane lane-wide" role="progressbar" aria-valuemin={0} aria-valuemax={100} aria-valuenow={wholePercent(written / saving.size)} aria-label={saving.name}>
            <i style={{ width: `${(written / Math.max(1, saving.size)) * 100}%` }} />
          </div>
          {phase === 'paused' && <p class="hint">{words.pausedNote}</p>}
          <div class="row">
            {phase === 'running' ? (
              <button class="button" onClick={() => job.pause()}>
                {words.pause}
              </button>
            ) : (
              <button class="button button-main" onClick={() => job.resume()}>
                {words.goOn}
              </button>
            )}
            <button class="button button-quiet" onClick={() => job.cancel()}>
              {words.cancel}
            </button>
          </div>
        </>
      )}
      {phase === 'saved' && <Checked job={job} what={what} />}
      {phase === 'failed' && (
        <p class="field-error" role="alert">
          {words.failed[why ?? 'broke-off']}
        </p>
      )}
      {phase === 'cancelled' && <p class="hint">{words.failed.cancelled}</p>}
    </div>
  );
}

/** The publisher may come to know the hash after the file was saved. */
function Checked({ job, what }: { job: Job; what: Meta }) {
  const { hash } = job.state.value;
  const { file } = job.saving;
  if (hash === null || file === null) return <p class="hint">{words.zipSaved}</p>;
  const known = (what.folder ? null : viewStats.value?.blake3) ?? (meta.value ?? what).files[file]?.blake3 ?? null;
  return (
    <p class="hint save-hash" data-testid="save-hash" data-checked={known === hash}>
      {known === null ? words.unchecked : known === hash ? words.matches : words.failed['other-bytes']} <code>{hash}</code>
    </p>
  );
}
