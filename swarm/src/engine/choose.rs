//! What to give next, and what to leave to others.
//!
//! A seeder in a crowd gives everything once before it gives any of it twice: what another peer has or is about to get from here is
//! left to that peer (`AskPeer`), unless it is urgent or was left to others in vain. It is decided when a block's turn comes, not when it
//! is asked for, so that viewers who ask for the same film in the same order get different parts of it and trade.

use super::serve::PROVEN_BYTES;
use super::{Swarm, Timer};
use crate::bits::lowest;
use crate::config;
use crate::face::{ConnId, Output, Role};
use crate::peer::{Asked, Peer, Standing};
use crate::picker;
use crate::wire::Refusal;
use baton_content::{BLOCK_LEN, Mask, PieceId};
use baton_sorted::SortedMap;

/// Entries looked at in one queue per turn: those before wait for a seal.
const LOOKS: usize = 32;

/// Blocks that a newcomer gets however full the uplink is: half of the start set.
const FIRST_BLOCKS: usize = 8;

/// What was given again may be ahead of what was given anew by so many blocks: half of a busy uplink is for what nobody has.
const AGAIN_SHARE_MAX: u32 = 12;
/// A piece is taken for spreading no longer than this.
const SPREAD_MAX_US: u64 = 5_000_000;
/// And so many at a time: more than any uplink begins within that.
const SPREADING_MAX: usize = 256;
/// What waits for others to spread a piece is looked at again after this.
const SPREAD_LOOK_US: u64 = 100_000;

/// In which order runs are chosen: urgent ones that nobody else can give, then those that will soon be played, so that the film moves on
/// even through a narrow uplink; then urgent ones and soon ones that somebody else has too, up to a share of the uplink; then the rest that is
/// new, and at last what is left. In a crowd that is late everybody wants the same urgently: without that share it took two thirds of the
/// uplink, and the film came no sooner to anybody.
#[derive(Clone, Copy)]
enum Class {
    First,
    Soon,
    Rest,
    Again,
    SoonAgain,
    RestAgain,
}

impl Class {
    fn queue(self) -> usize {
        match self {
            Class::First | Class::Again => 0,
            Class::Soon | Class::SoonAgain => 1,
            Class::Rest | Class::RestAgain => 2,
        }
    }

    fn of(self, asked: &Asked) -> u64 {
        match self {
            Class::First | Class::Again => asked.urgent,
            Class::Soon | Class::SoonAgain => asked.soon,
            Class::Rest | Class::RestAgain => asked.mask & !asked.urgent & !asked.soon,
        }
    }

    /// Of what somebody else has too.
    fn is_again(self) -> bool {
        matches!(self, Class::Again | Class::SoonAgain | Class::RestAgain)
    }
}

/// Whether a peer has less on its way than it takes; what it does not take would keep the uplink from others.
fn has_room(peer: &Peer) -> bool {
    peer.under_way() < (peer.share() / 2).saturating_mul(3).max(1)
}

/// Refusals of one turn, joined per piece.
type Refusals = SortedMap<(ConnId, PieceId, Option<ConnId>), u64>;

impl Swarm {
    /// What goes to these next, so far as there is room; newcomers' first blocks go all the same.
    pub(super) fn load_ahead(&mut self, conns: &[ConnId], newcomers: bool) {
        let mut loads: Vec<(PieceId, u64)> = Vec::new();
        let mut refusals = Refusals::new();
        let yields = self.yields();
        let (mut room, mut calm) = self.uplink_room();
        // What is chosen for one alone is chosen no better later, and its own measure says how much it takes.
        let same = |conn: &ConnId| Some(conn) == conns.first();
        let alone = newcomers
            && !yields
            && self.peers.len() < config::CROWD_PEERS
            && conns.iter().all(same);
        for (class, within_share) in [
            (Class::First, false),
            (Class::Soon, false),
            (Class::Again, true),
            (Class::SoonAgain, true),
            (Class::Rest, false),
            (Class::Again, false),
            (Class::SoonAgain, false),
            (Class::RestAgain, false),
        ] {
            let mut progress = true;
            while progress {
                progress = false;
                for &conn in conns {
                    if within_share && self.again_share == 0 {
                        continue;
                    }
                    let peer = &self.peers[&conn];
                    let (free, near) = (peer.is_local(), peer.is_near());
                    let yields = yields && !near;
                    let fits = (alone || room > 0) && (!yields || calm > 0 && has_room(peer));
                    if (free || fits || newcomers && self.is_starved(conn, class))
                        && let Some((piece, mask)) =
                            self.next_run(conn, class, within_share, &mut refusals)
                    {
                        self.load(
                            conn,
                            piece,
                            mask,
                            matches!(class, Class::First | Class::Again),
                            &mut loads,
                        );
                        let count = mask.count_ones();
                        self.again_share = if class.is_again() {
                            self.again_share.saturating_sub(count)
                        } else {
                            (self.again_share + count).min(AGAIN_SHARE_MAX)
                        };
                        self.tell_other_askers(conn, piece, mask, &mut refusals);
                        let bytes = u64::from(count) * BLOCK_LEN as u64;
                        if !free {
                            room = room.saturating_sub(bytes);
                        }
                        if !near {
                            calm = calm.saturating_sub(bytes);
                        }
                        progress = true;
                    }
                }
            }
        }
        for (piece, mask) in loads {
            self.out.push_back(Output::Load {
                piece,
                mask: Mask(mask),
            });
        }
        for ((conn, piece, other), mask) in refusals {
            let other = other
                .and_then(|other| self.peers.get(&other))
                .map(|peer| peer.id);
            self.reject(
                conn,
                piece,
                mask,
                other.map_or(Refusal::NotHere, Refusal::AskPeer),
            );
        }
    }

    /// Whether a peer waits for something urgent and nothing is on its way to it: a full uplink must not keep a newcomer from its first
    /// picture.
    fn is_starved(&self, conn: ConnId, class: Class) -> bool {
        let idle = |peer: &Peer| {
            peer.up.block_bytes == peer.up.acked
                && peer.up.ahead_blocks() < FIRST_BLOCKS
                && (peer.up.acked < PROVEN_BYTES || !self.yields())
        };
        matches!(class, Class::First) && self.peers.get(&conn).is_some_and(idle)
    }

    /// Whether what is given yields to the person's own traffic: of who has everything. A publisher's film would stall for it, and a crowd
    /// that watches lives by what each gives on at once (docs/decisions.md).
    pub(super) fn yields(&self) -> bool {
        self.role != Role::Publisher && self.pieces.all_whole()
    }

    /// Whether an uplink that yields is so slow that each block must go by itself.
    pub(super) fn yields_slowly(&self) -> bool {
        self.yields() && self.uplink.is_slow()
    }

    /// How many more bytes the uplink as a whole takes: what it carries in a quarter of a second, and a quarter more. What is chosen
    /// later is chosen better, and a slow uplink must not queue for seconds. And how many it takes without a queue that others feel.
    fn uplink_room(&mut self) -> (u64, u64) {
        let now = self.now;
        let heard = |peer: &&Peer| !peer.is_lost(now) && !peer.is_local();
        let far = || {
            let heard = self.peers.values().filter(heard);
            heard.filter(|peer| !peer.is_near())
        };
        let total: u64 = self.peers.values().filter(heard).map(Peer::under_way).sum();
        let calm: u64 = far().map(|peer| peer.under_way().min(peer.share())).sum();
        let empty = far().all(|peer| peer.up.block_bytes == peer.up.acked);
        if self.uplink.stood_still(now, empty) {
            let far: Vec<ConnId> = far().map(|peer| peer.conn).collect();
            far.into_iter().for_each(|conn| self.ask_sign(conn));
        }
        let window = self.uplink.window();
        self.uplink.full |= calm + BLOCK_LEN as u64 > window;
        if !empty
            && self.yields()
            && let Some(until) = self.uplink.stands_still(now)
        {
            self.timers.set_earlier(Timer::Tokens, until);
        }
        let rtt_us = self
            .peers
            .values()
            .map(|peer| peer.rtt.least_us())
            .max()
            .unwrap_or(0)
            .min(300_000);
        let most = match self.uplink.goodput.bytes_per_second() {
            Some(rate) => {
                (rate.saturating_mul(rtt_us + 250_000) / 1_000_000 * 5 / 4).max(64 * 1024)
            }
            None => 1 << 20,
        };
        let calm = self.uplink.window().saturating_sub(calm);
        (most.saturating_sub(total), calm)
    }

    /// Blocks go to one peer: the others who wait for the same learn at once whom to ask.
    fn tell_other_askers(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        mask: u64,
        refusals: &mut Refusals,
    ) {
        // Who has paused, and gives nothing to us, gives nothing to them.
        let passes_on = |peer: &Peer| picker::is_useful(peer) && !peer.is_local();
        if !self.is_seeder() || !self.peers.get(&conn).is_some_and(passes_on) {
            return;
        }
        let other = |peer: &&mut Peer| peer.conn != conn && !peer.is_local();
        for peer in self.peers.values_mut().filter(other) {
            let Some(asked) = peer.up.asked.get(&piece) else {
                continue;
            };
            let theirs = asked.mask & mask & !asked.firm & !asked.pushed;
            if theirs != 0 {
                peer.up.unask(piece, theirs);
                *refusals.entry((peer.conn, piece, Some(conn))).or_default() |= theirs;
            }
        }
    }

    fn load(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        mask: u64,
        urgent: bool,
        loads: &mut Vec<(PieceId, u64)>,
    ) {
        let elsewhere = self.peers.values().fold(0, |all, peer| {
            all | peer.up.loading.get(&piece).copied().unwrap_or(0)
        });
        let up = &mut self.peers.get_mut(&conn).expect("the caller looked").up;
        *up.loading.entry(piece).or_default() |= mask;
        up.loading_blocks += mask.count_ones();
        if urgent {
            *up.loading_urgent.entry(piece).or_default() |= mask;
        }
        *up.given.entry(piece).or_default() |= mask;
        let new = mask & !elsewhere;
        match loads.iter_mut().rev().take(4).find(|(at, _)| *at == piece) {
            _ if new == 0 => {}
            Some((_, all)) => *all |= new,
            None => loads.push((piece, new)),
        }
    }

    /// Up to three blocks of the next piece in a peer's queue that can be loaded. What cannot or should not be given is refused.
    fn next_run(
        &mut self,
        conn: ConnId,
        class: Class,
        within_share: bool,
        refusals: &mut Refusals,
    ) -> Option<(PieceId, u64)> {
        let mut at = 0;
        loop {
            let peer = self.peers.get(&conn)?;
            let ahead = (peer.up.under_way_max(peer.rtt.least_us()) / BLOCK_LEN as u64)
                .clamp(6, config::LOAD_AHEAD_BLOCKS as u64);
            if peer.up.ahead_blocks() as u64 >= ahead || at >= LOOKS {
                return None;
            }
            let (piece, blocks) = *peer.up.queues[class.queue()].get(at)?;
            let mask = blocks & class.of(&peer.up.asked.get(&piece).copied().unwrap_or_default());
            let (first, again) = self.leave_to_others(conn, piece, mask, refusals);
            let run = if class.is_again() { again } else { first };
            if first | again == 0 {
                self.peers.get_mut(&conn)?.up.queues[class.queue()].remove(at);
                continue;
            }
            let run = if within_share && self.peers.len() >= config::CROWD_PEERS {
                run & !self.held_often(piece)
            } else {
                run
            };
            let waits = run != 0 && class.is_again() && self.is_spreading(piece, within_share);
            if waits {
                let soon = self.now.after(SPREAD_LOOK_US);
                self.timers.set_earlier(Timer::Tokens, soon);
            }
            if run == 0 || waits || self.waits_for_seal(conn, piece) {
                at += 1;
                continue;
            }
            if !class.is_again() && self.is_seeder() {
                self.gave_anew(piece);
            }
            let peer = self.peers.get(&conn)?;
            let single = self.yields_slowly() && !peer.is_near() || peer.standing == Standing::Last;
            let most = if single {
                1
            } else {
                config::BLOCKS_PER_MESSAGE
            };
            let run = lowest(run, most as u32);
            self.peers.get_mut(&conn)?.up.unask(piece, run);
            return Some((piece, run));
        }
    }

    /// Blocks of a piece that two others say they have: who is late gets them there, and what is new goes first.
    fn held_often(&self, piece: PieceId) -> u64 {
        let mut once = 0;
        let mut twice = 0;
        for peer in self.peers.values().filter(|peer| picker::is_useful(peer)) {
            let has = peer.has.mask(piece);
            twice |= once & has;
            once |= has;
        }
        twice
    }

    /// Something of a piece went out that nobody had.
    fn gave_anew(&mut self, piece: PieceId) {
        let now = self.now;
        if self.spreading.len() >= SPREADING_MAX {
            self.spreading
                .retain(|_, at| now.since(*at) < SPREAD_MAX_US);
        }
        if self.spreading.len() < SPREADING_MAX {
            self.spreading.insert(piece, now);
        }
    }

    /// Whether what was given once of a piece may still be on its way through others: for one round of the uplink through all who wait,
    /// or half of one within the share. It is not given again sooner, however urgent it is, or who are late would all get the same and nobody what is new.
    fn is_spreading(&self, piece: PieceId, within_share: bool) -> bool {
        let Some((at, rate)) = self
            .spreading
            .get(&piece)
            .zip(self.uplink.goodput.bytes_per_second())
        else {
            return false;
        };
        let waiting = self
            .peers
            .values()
            .filter(|peer| peer.up.waiting_blocks() > 0)
            .count();
        let round = (waiting * config::BLOCKS_PER_MESSAGE * BLOCK_LEN) as u64;
        let round_us = round.saturating_mul(1_000_000) / rate.max(1);
        let enough_us = if within_share { round_us / 2 } else { round_us };
        self.now.since(*at) < enough_us.min(SPREAD_MAX_US)
    }

    /// Whether a publisher must seal the piece first; sees to it, so far as the peer's share of cold seals goes.
    fn waits_for_seal(&mut self, conn: ConnId, piece: PieceId) -> bool {
        if self.role != Role::Publisher || self.pieces.is_known(piece) {
            return false;
        }
        // Counted until they are sealed: to cancel does not make room for more.
        let cause = Some(self.peers[&conn].id);
        let its = self.sealing.values().filter(|by| **by == cause).count();
        let cold = self.sealing.values().filter(|by| by.is_some()).count();
        if its < config::COLD_SEALS_PER_PEER && cold < config::COLD_SEALS_MAX {
            self.seal(piece, cause);
        }
        true
    }

    /// Refuses what is not here, and what somebody else has or is about to have and that is not asked for with emphasis. What is left:
    /// what nobody else has, and what is given again all the same.
    fn leave_to_others(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        mask: u64,
        refusals: &mut Refusals,
    ) -> (u64, u64) {
        let gone = mask & !self.offered(piece);
        let asked = self
            .peers
            .get(&conn)
            .and_then(|peer| peer.up.asked.get(&piece))
            .copied()
            .unwrap_or_default();
        let mut left = mask & !gone;
        let mut again = 0;
        let mut leave = |swarm: &mut Swarm, other: Option<ConnId>, mask: u64| {
            *refusals.entry((conn, piece, other)).or_default() |= mask;
            swarm
                .peers
                .get_mut(&conn)
                .expect("the caller looked")
                .up
                .unask(piece, mask);
        };
        if gone != 0 {
            leave(self, None, gone);
        }
        if left == 0 || !self.is_seeder() || self.peers[&conn].is_local() {
            return (left, 0);
        }
        let now = self.now;
        let takes = |peer: &&Peer| {
            peer.conn != conn && picker::is_useful(peer) && !peer.is_lost(now) && !peer.is_local()
        };
        let holds =
            |peer: &Peer| peer.has.mask(piece) | peer.up.given.get(&piece).copied().unwrap_or(0);
        let holders: Vec<(ConnId, u64)> = self
            .peers
            .values()
            .filter(takes)
            .map(|peer| (peer.conn, holds(peer)))
            .collect();
        for (other, holds) in holders {
            let theirs = left & holds & !asked.pushed;
            again |= theirs & asked.firm;
            if theirs & !asked.firm != 0 {
                leave(self, Some(other), theirs & !asked.firm);
                self.wake(other);
            }
            left &= !theirs;
        }
        (left, again)
    }

    /// Whether this peer is where everything comes from: the publisher, or whoever has all of it when nobody else in sight does. Two
    /// such peers would leave everything to each other.
    fn is_seeder(&self) -> bool {
        let is_source = |peer: &Peer| peer.is_up() && !peer.is_local() && self.has_all(peer);
        self.role == Role::Publisher
            || self.pieces.all_whole() && !self.peers.values().any(is_source)
    }
}
