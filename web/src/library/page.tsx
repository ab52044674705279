/** The library: what this browser keeps, how much room it takes, and what is to become of it. */
import { signal } from '@preact/signals';
import { render } from 'preact';
import { list, root, tell, type Listed } from '../folder';
import { bytes } from '../format';
import { all as allShares, forget, type Kept } from '../kept';
import { panelMessages } from '../messages-panels';
import { libraryMessages as words } from '../messages-storage';
import { messages } from '../messages';
import { loadStyle } from '../remote/style';
import { SAVES } from '../save/ways';
import { canLook, held, passedOn, remove, streams, type Stream } from './streams';
import styles from './library.css?url';
import { tend, tended } from './tend';

interface Found {
  streams: { folder: string; size: number; stream: Stream | null; state: keyof typeof words.states }[];
  shares: { kept: Kept; size: number; busy: boolean }[];
  used: number;
  quota: number;
  persisted: boolean;
}

const found = signal<Found | null>(null);
/** Why there is nothing to see: a sentence. */
const trouble = signal('');
/** What happened last: a sentence. */
const news = signal('');

/** How often the page looks, milliseconds. */
const LOOK_MS = 2000;

export async function draw(): Promise<void> {
  document.title = `${words.title} · ${messages.brand}`;
  await loadStyle(styles);
  render(<Page />, document.getElementById('app')!);
  if (!canLook()) {
    trouble.value = window.isSecureContext === false ? words.insecure : words.unavailable;
    return;
  }
  tend(0);
  try {
    await sweep();
  } catch {
    // The look says what is the matter.
  }
  void lookOn();
}

async function lookOn(): Promise<void> {
  await look();
  setTimeout(() => void lookOn(), LOOK_MS);
}

async function look(): Promise<void> {
  try {
    found.value = await lookAround();
    trouble.value = '';
  } catch {
    trouble.value = words.unavailable;
  }
}

const folders = async (): Promise<Listed[]> => list(await root());

async function lookAround(): Promise<Found> {
  const [dirs, records, shares, open] = await Promise.all([folders(), streams.all(), allShares(), held()]);
  const { usage = 0, quota = 0 } = await navigator.storage.estimate();
  const sizes = new Map(dirs.map(({ name, size }) => [name, size]));
  const byFolder = new Map(records.map((stream) => [stream.folder, stream]));
  // The browser, or a film that needed the room, has deleted it.
  for (const { folder } of records) if (!sizes.has(folder)) await streams.delete(folder);
  const first = new Set(passedOn(records.filter((it) => sizes.has(it.folder))).map(({ folder }) => folder));
  const kept = dirs.filter(({ name }) => !name.startsWith('share-')).map(({ name, size }) => {
    const stream = byFolder.get(name) ?? null;
    return { folder: name, size, stream, state: stateOf(name, stream, open, first) };
  });
  kept.sort((a, b) => (b.stream?.at ?? 0) - (a.stream?.at ?? 0));
  return {
    streams: kept,
    shares: shares.map((kept) => ({ kept, size: sizes.get(kept.folder) ?? 0, busy: open.has(kept.folder) })),
    used: usage,
    quota,
    persisted: await navigator.storage.persisted(),
  };
}

function stateOf(folder: string, stream: Stream | null, open: Set<string>, first: Set<string>): keyof typeof words.states {
  if (tended.has(folder)) return 'here';
  if (open.has(folder)) return 'elsewhere';
  if (!stream) return 'lost';
  if (!stream.seed) return 'stopped';
  if (stream.have < 1) return 'partial';
  return first.has(folder) ? 'waiting' : 'many';
}

/** Folders of shares that nobody can go on with, and files that were saved, are cleared away. */
async function sweep(): Promise<void> {
  const known = new Set((await allShares()).map(({ folder }) => folder));
  let [count, size] = [0, 0];
  for (const folder of await folders()) {
    // A page that has just begun to share holds its lock.
    if (!folder.name.startsWith('share-') || known.has(folder.name) || !(await remove(folder.name, false))) continue;
    count += 1;
    size += folder.size;
  }
  if (count > 0) news.value = words.swept(count, size);
  const saving = (await navigator.locks.query()).held?.some(({ name }) => name?.startsWith('baton saving '));
  if (!saving) await (await navigator.storage.getDirectory()).removeEntry(SAVES, { recursive: true }).catch(() => undefined);
}

function Page() {
  const now = found.value;
  return (
    <div class="library">
      <header class="page-head">
        <div>
          <h1>{words.title}</h1>
          <p class="library-lead">{words.lead}</p>
        </div>
        <a class="button" href="/">
          {words.share}
        </a>
      </header>
      {trouble.value !== '' && (
        <p class="notice" role="alert" data-testid="library-trouble">
          {trouble.value}
        </p>
      )}
      <p class="library-news" role="status" data-testid="library-news">
        {news.value}
      </p>
      {now && trouble.value === '' && (
        <>
          <Room now={now} />
          {now.streams.length === 0 && now.shares.length === 0 && <p class="card library-empty">{words.empty}</p>}
          {now.streams.length > 0 && (
            <section class="card">
              <h2>{words.streams}</h2>
              <ul data-testid="library-streams">
                {now.streams.map((it) => (
                  <Row key={it.folder} {...it} />
                ))}
              </ul>
            </section>
          )}
          {now.shares.length > 0 && (
            <section class="card">
              <h2>{words.shares}</h2>
              <ul data-testid="library-shares">
                {now.shares.map((it) => (
                  <ShareRow key={it.kept.id} {...it} />
                ))}
              </ul>
            </section>
          )}
        </>
      )}
    </div>
  );
}

/** How much of what the browser grants is in use, and whether it may take it back. */
function Room({ now }: { now: Found }) {
  const { used, quota, persisted } = now;
  const ask = async (): Promise<void> => {
    if (!(await navigator.storage.persist())) news.value = words.refused;
    await look();
  };
  return (
    <section class="card library-room" data-testid="library-room" data-used={used} data-quota={quota}>
      <p>{words.used(used, quota)}</p>
      <div class="lane lane-wide" aria-hidden="true">
        <i style={{ width: `${quota > 0 ? Math.min(100, (used / quota) * 100) : 0}%` }} />
      </div>
      <div class="library-persist">
        <p class="hint">{persisted ? words.persisted : words.notPersisted}</p>
        {!persisted && (
          <button class="button" onClick={() => void ask()}>
            {words.persist}
          </button>
        )}
      </div>
    </section>
  );
}

function Row({ folder, size, stream, state }: Found['streams'][number]) {
  const name = stream?.title || words.unknown;
  const facts = [
    stream ? words.ofIt(stream.have, stream.size) : '',
    words.onDisk(size),
    stream ? words.given(stream.given) : '',
    stream?.confirmedBy ? panelMessages.confirmed(stream.confirmed ?? 0, stream.confirmedBy) : '',
    stream ? words.taken(stream.taken) : '',
  ];
  const drop = async (): Promise<void> => {
    if (!confirm(words.removeConfirm(name))) return;
    if (!(await remove(folder))) news.value = words.busy(name);
    else {
      tell('');
      news.value = words.removed(name);
    }
    await look();
  };
  const passOn = async (seed: boolean): Promise<void> => {
    await streams.change(folder, (known) => known && { ...known, seed });
    tell('');
    await look();
  };
  return (
    <li class="library-row" data-testid="library-stream" data-state={state}>
      <div class="library-words">
        <p class="library-name">{name}</p>
        <p class="facts">
          {facts.filter((fact) => fact !== '').map((fact) => (
            <span class="fact">{fact}</span>
          ))}
        </p>
        <p class="hint">{words.states[state]}</p>
      </div>
      <div class="library-acts">
        {stream && (
          <label class="switch">
            <span class="switch-label">{words.passOn}</span>
            <input type="checkbox" role="switch" aria-label={words.passOnName(name)} checked={stream.seed} onChange={(event) => void passOn(event.currentTarget.checked)} />
            <span class="switch-lane" aria-hidden="true">
              <i />
            </span>
          </label>
        )}
        {stream && (
          <a class="button" href={stream.link}>
            {words.watch}
          </a>
        )}
        <button class="button button-quiet" onClick={() => void drop()}>
          {words.remove}
        </button>
      </div>
    </li>
  );
}

function ShareRow({ kept, size, busy }: Found['shares'][number]) {
  const drop = async (): Promise<void> => {
    if (!confirm(words.forgetConfirm(kept.name))) return;
    // What cannot be deleted now is cleared away when the library is opened again.
    await forget(kept).catch(() => undefined);
    news.value = words.removed(kept.name);
    await look();
  };
  return (
    <li class="library-row" data-testid="library-share">
      <div class="library-words">
        <p class="library-name">{kept.name}</p>
        <p class="facts">
          <span class="fact">{bytes(kept.size)}</span>
          <span class="fact">{words.onDisk(size)}</span>
          <span class="fact">{words.signed}</span>
        </p>
        <p class="hint">{busy ? words.states.sharing : words.states.resting}</p>
      </div>
      {!busy && (
        <div class="library-acts">
          <a class="button" href="/">
            {words.goOn}
          </a>
          <button class="button button-quiet" onClick={() => void drop()}>
            {words.remove}
          </button>
        </div>
      )}
    </li>
  );
}
