/** What goes on, in numbers: who is here, who sends what, how fast, and how much came from other viewers. */
import { useEffect, useState } from 'preact/hooks';
import type { PeerStats, ShareStats, ViewStats } from '../api';
import { bytes, delay, percent, rate, wholePercent } from '../format';
import { panelMessages } from '../messages-panels';
import { roomMessages } from '../messages-storage';
import { Plot } from './plot';

const words = panelMessages;

interface Props {
  stats: ViewStats | ShareStats;
  share?: boolean;
  /** Whether the stream is watched: then startup and stalls mean something. */
  film?: boolean;
}

export function Panels({ stats, share = false, film = false }: Props) {
  return (
    <>
    {!share && <Room stats={stats} />}
    {!share && stats.confirmed_by > 0 && (
      <p class="hint" data-testid="confirmed" data-value={stats.bytes_confirmed}>
        {words.youGave(stats.bytes_sent, words.confirmed(stats.bytes_confirmed, stats.confirmed_by))}
      </p>
    )}
    <div class="panels">
      <Figures stats={stats} share={share} film={film} />
      <Peers stats={stats} share={share} />
      <section class="card speed">
        <header class="card-head">
          <h2>{words.rates}</h2>
          <p class="legend">
            {!share && <span class="key key-down">{`${words.down} ${rate(stats.down_bps)}`}</span>}
            <span class="key key-up">{`${words.up} ${rate(stats.up_bps)}`}</span>
          </p>
        </header>
        <Plot down={!share} />
      </section>
    </div>
    </>
  );
}

/** A stream that this browser's disk has no room for says so. */
function Room({ stats }: { stats: ViewStats | ShareStats }) {
  const [room, setRoom] = useState(Infinity);
  useEffect(() => {
    if (!navigator.storage?.estimate) return;
    navigator.storage.estimate().then(
      ({ quota = 0, usage = 0 }) => setRoom(Math.max(0, quota - usage) + stats.bytes_stored),
      () => undefined,
    );
  }, [stats.size]);
  if (stats.size <= room) return null;
  return (
    <p class="hint" data-testid="no-room">
      {roomMessages.short(room, stats.size)} <a href="/library">{roomMessages.more}</a>
    </p>
  );
}

/** The few numbers that tell how well it goes. */
function Figures({ stats, share, film }: Required<Props>) {
  const offload = stats.bytes_received > 0 ? stats.from_viewers / stats.bytes_received : 0;
  const [fromViewers, ofAll] = words.fromPeers(bytes(stats.from_viewers), bytes(stats.bytes_received));
  return (
    <dl class="figures">
      {share ? (
        <>
          <Figure value={bytes(stats.bytes_sent)} label={words.sent} hint={shareHint(stats)} />
          <Figure value={rate(stats.up_bps)} label={words.upNow} />
        </>
      ) : (
        <>
          <div class={`figure${offload > 0 ? ' figure-offload' : ''}`}>
            <dt>{words.offload}</dt>
            <dd>
              <span data-testid="offload" data-value={offload}>
                {percent(offload)}
              </span>
              <small>
                <span data-testid="bytes-from-peers" data-value={stats.from_viewers}>
                  {fromViewers}
                </span>
                {ofAll}
              </small>
            </dd>
          </div>
          <Figure value={percent(stats.have)} label={words.here} />
          {film && stats.startup_ms !== null && <Figure value={delay(stats.startup_ms)} label={words.startup} />}
          {film && stats.startup_ms !== null && <Figure value={String(stats.stalls)} label={words.stalls(stats.stalls)} />}
        </>
      )}
    </dl>
  );
}

function shareHint(stats: ViewStats | ShareStats): string {
  const copies = stats.bytes_sent > 0 && stats.size > 0 ? words.copies(stats.bytes_sent / stats.size) : '';
  return stats.confirmed_by > 0 ? `${copies} · ${words.confirmed(stats.bytes_confirmed, stats.confirmed_by)}` : copies;
}

function Figure({ value, label, hint }: { value: string; label: string; hint?: string }) {
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>
        <span>{value}</span>
        {hint && <small>{hint}</small>}
      </dd>
    </div>
  );
}

/** Each peer runs on a lane of its own: the baton stands where it is in the stream. */
function Peers({ stats, share }: { stats: ViewStats | ShareStats; share: boolean }) {
  const shown = shownPeers(stats.peers);
  return (
    <section class="card peers">
      <header class="card-head">
        <h2>{share ? words.viewers : words.peers}</h2>
        <p class="count">
          <span data-testid="peer-count" data-value={stats.peers.length}>
            {stats.peers.length}
          </span>
        </p>
      </header>
      {stats.peers.length === 0 && <p class="hint">{share && stats.bytes_sent === 0 ? words.nobodyYet : words.nobody}</p>}
      <ul data-testid="peer-list">
        {shown.map((peer) => (
          <Peer key={peer.id} peer={peer} />
        ))}
      </ul>
      {stats.rejected_blocks > 0 && <p class="hint">{words.rejected(stats.rejected_blocks)}</p>}
    </section>
  );
}

/** The publisher, then in the order in which they came: rows that trade places with each measurement cannot be read. */
export function shownPeers(peers: PeerStats[]): PeerStats[] {
  const nearest = [...peers].sort((a, b) => (a.rtt_ms ?? 1e9) - (b.rtt_ms ?? 1e9)).slice(0, SHOWN_MAX);
  const rank = (peer: PeerStats): number => (peer.role === 'publisher' ? 0 : 1);
  return peers.filter((peer) => nearest.includes(peer)).sort((a, b) => rank(a) - rank(b));
}

function Peer({ peer }: { peer: PeerStats }) {
  const facts = words.peerFacts(peer);
  const bytesOf = [peer.received > 0 ? words.gave(peer.received) : '', peer.sent > 0 ? words.took(peer.sent) : ''].filter((it) => it !== '').join(' · ');
  return (
    <li class={`peer peer-${peer.role}`} data-peer={peer.id}>
      <p class="peer-name">
        <strong>{words.role(peer)}</strong> <code>{peer.id.slice(0, 4)}</code>
        <span class="peer-facts">{facts.join(' · ')}</span>
      </p>
      <p class="peer-rates">
        {peer.down_bps >= 1000 && <span class="key key-down">{rate(peer.down_bps)}</span>}
        {peer.up_bps >= 1000 && <span class="key key-up">{rate(peer.up_bps)}</span>}
      </p>
      <div class="lane" role="img" aria-label={words.peerHas(peer)} title={words.peerHas(peer)}>
        <i style={{ width: `${wholePercent(peer.complete)}%` }} />
      </div>
      {bytesOf !== '' && <p class="peer-bytes">{bytesOf}</p>}
    </li>
  );
}

/** A list of more is a wall, not news. */
const SHOWN_MAX = 24;
