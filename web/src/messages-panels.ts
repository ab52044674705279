/** Every string of the panels: they come after the first picture. */
import type { PeerStats } from './api.ts';
import { bytes, percent } from './format.ts';
import { plural } from './messages.ts';

export const panelMessages = {
  peers: 'Who is here',
  viewers: 'Who is watching',
  nobody: 'Nobody else is connected at the moment.',
  nobodyYet: 'Nobody yet. They appear here when they open the link.',
  rates: 'Speed',
  down: 'in',
  up: 'out',
  upNow: 'going out now',
  span: (seconds: number) => (seconds < 60 ? `the last ${seconds} seconds` : seconds < 120 ? 'the last minute' : 'the last two minutes'),
  offload: 'from other viewers',
  fromPeers: (fromViewers: string, all: string) => [fromViewers, ` of ${all}`] as const,
  startup: 'to the first picture',
  stalls: (n: number) => (n === 1 ? 'stall' : 'stalls'),
  here: 'here and verified',
  sent: 'passed on',
  copies: (n: number) => `${n.toFixed(1)} times its size`,
  watching: (n: number, before: boolean) =>
    (n === 0 ? (before ? 'nobody connected right now' : 'nobody connected yet') : plural(n, 'person connected', 'people connected')),
  rejected: (n: number) => `${plural(n, 'block was', 'blocks were')} wrong and thrown away.`,
  role: (peer: PeerStats): string => ROLES[peer.role],
  peerFacts: (peer: PeerStats): string[] => {
    const facts: string[] = [];
    if (peer.rtt_ms !== null) facts.push(`${Math.max(1, Math.round(peer.rtt_ms))} ms`);
    if (peer.region) facts.push(peer.region);
    if (peer.path === 'relay') facts.push('relayed');
    return facts;
  },
  peerHas: (peer: PeerStats) => (peer.complete >= 1 ? 'has it all' : `has ${percent(peer.complete)}`),
  gave: (received: number) => `${bytes(received)} to you`,
  confirmed: (count: number, by: number) => `${bytes(count)} confirmed by ${plural(by, 'other', 'others')}`,
  youGave: (sent: number, confirmed: string) => `You passed on ${bytes(sent)}: ${confirmed}.`,
  took: (sent: number) => `${bytes(sent)} from you`,
};

const ROLES: Record<PeerStats['role'], string> = {
  publisher: 'Publisher',
  viewer: 'Viewer',
  // The lane beside the name says that this one has it all.
  seeder: 'Viewer',
  keeper: 'Keeper',
};
