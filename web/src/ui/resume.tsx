/** What this browser shared before the page was closed: it goes on by itself where it may, else by one click. */
import { useEffect, useState } from 'preact/hooks';
import { bytes } from '../format';
import { all, filesOf, forget, hold, isFree, mayRead, release, type Kept } from '../kept';
import { resumeMessages } from '../messages-share';
import { goOn, refuse, session } from '../session';
import { tidy } from './collect';
import { FileButton } from './file-button';

const words = resumeMessages;

export function Resume() {
  const [offers, setOffers] = useState<Kept[]>([]);
  useEffect(() => {
    let here = true;
    const shown = () => here && !session.shared;
    void look(shown).then((found) => here && setOffers(found));
    return () => {
      here = false;
    };
  }, []);
  const drop = (kept: Kept): void => {
    setOffers((offers) => offers.filter((other) => other.id !== kept.id));
    // What cannot be deleted now is found at the next visit.
    forget(kept).catch(() => undefined);
  };
  return (
    <>
      {offers.map((kept) => (
        <Offer kept={kept} onForget={() => drop(kept)} />
      ))}
    </>
  );
}

function Offer({ kept, onForget }: { kept: Kept; onForget: () => void }) {
  return (
    <section class="card resume" data-testid="resume">
      <div class="resume-words">
        <p class="resume-title">{words.title(kept.name)}</p>
        <p class="hint">
          {bytes(kept.size)} · {kept.handles.length > 0 ? words.click : words.choose(kept.count)}
        </p>
      </div>
      <div class="row">
        {kept.handles.length > 0 ? (
          <button class="button button-main" onClick={() => void byHandles(kept)}>
            {words.goOn}
          </button>
        ) : (
          <FileButton
            class="button button-main"
            label={words.again(kept.count)}
            folder={kept.inFolder}
            testId="resume-input"
            onFiles={(files, handles) => void take(kept, files, handles)}
          />
        )}
        <button class="button button-quiet" onClick={onForget}>
          {words.forget}
        </button>
      </div>
    </section>
  );
}

/** Goes on with the last share that may be read without asking; the others are offered. `wanted`: nothing else was begun meanwhile. */
async function look(wanted: () => boolean): Promise<Kept[]> {
  const offers: Kept[] = [];
  for (const kept of await all()) {
    if (!(await isFree(kept.id))) continue;
    if (wanted() && (await mayRead(kept.handles, false).catch(() => false))) await read(kept);
    else offers.push(kept);
  }
  return offers;
}

async function byHandles(kept: Kept): Promise<void> {
  if (await mayRead(kept.handles, true).catch(() => false)) await read(kept);
  else refuse(words.notAllowed(kept.name));
}

async function read(kept: Kept): Promise<void> {
  try {
    await take(kept, await filesOf(kept.handles), kept.handles);
  } catch {
    refuse(words.gone(kept.name));
  }
}

async function take(kept: Kept, files: File[], handles: FileSystemHandle[]): Promise<void> {
  if (files.length === 0) return;
  if (!(await hold(kept.id))) return refuse(words.elsewhere(kept.name));
  // One file has no order, and its name may have changed.
  const same = files.length === 1 ? files : tidy(files).files;
  const outcome = await goOn(kept, same, handles.length > 0 ? handles : kept.handles);
  if (outcome !== 'goes on') release(kept.id);
  if (outcome === 'changed') refuse(words.changed(kept.name, kept.count));
}
