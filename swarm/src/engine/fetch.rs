//! Asking: demands by deadline, then everything, late blocks once more.

use super::{Swarm, Timer};
use crate::bits::lowest;
use crate::config;
use crate::face::{ConnId, Demand, Reason, Role};
use crate::peer::Owed;
use crate::picker;
use crate::timer::Instant;
use crate::wire::{
    self, ENTRIES_MAX, FLAG_HEADER, FLAG_INSIST, FLAG_NEED, FLAG_SOON, FLAG_URGENT, Message, Part,
    Want,
};
use baton_content::{BLOCK_LEN, Mask, PieceId};
use baton_sorted::{SortedMap, sort_by_key};

/// Urgent blocks of one piece are spread over peers in runs of this many: one message and one more block.
const URGENT_RUN: u32 = 4;
/// Fewer than this are not worth a request while more are on their way.
const BATCH: u32 = 16;
/// Blocks to keep asked for at least where there is no crowd, and from a publisher: 256 KiB keep 2.5 MB/s busy at 100 ms.
const LEAST_BLOCKS: u32 = 16;
/// What is to come later than twice what another takes for it, and so much more, is asked of that one instead.
const TAKE_OVER_US: u64 = 4_000_000;
/// How long the background waits for the player's first word after the manifest came.
const PLAYER_PATIENCE_US: u64 = 300_000;
/// What was just cancelled may still be on its way: not asked of the same peer for so long.
const CANCEL_PAUSE_US: u64 = 400_000;

impl Swarm {
    pub(super) fn demanded(&mut self, demands: Vec<Demand>) {
        self.own_demands = demands;
        self.demands_changed();
    }

    /// Our player's, and those of the tabs that have nobody but us.
    pub(super) fn all_demands(&self) -> Vec<Demand> {
        let needs = self.peers.values().flat_map(|peer| &peer.needs);
        let all = self.own_demands.iter().chain(needs);
        let mut demands: Vec<Demand> = all.filter(|it| it.mask.0 != 0).copied().collect();
        sort_by_key(&mut demands, |demand| {
            let piece = demand.piece;
            let place = u64::from(piece.lane.0) << 32 | u64::from(piece.index.0);
            (demand.deadline.0, place)
        });
        demands.truncate(config::DEMANDS_MAX);
        demands
    }

    fn demands_changed(&mut self) {
        let demands = self.all_demands();
        let old = std::mem::replace(&mut self.demands, demands);
        self.background_from = Some(self.now);
        if self.is_jump(&old) {
            self.jumped_at = self.now;
            self.drop_old_requests();
        }
        self.moisten();
        self.tell_needs();
    }

    /// What our player needs and the tab that leads us lacks.
    pub(super) fn tell_needs(&mut self) {
        let leads_us = |peer: &&crate::peer::Peer| peer.is_up() && peer.leads_us();
        let Some(peer) = self.peers.values().find(leads_us) else {
            return;
        };
        let conn = peer.conn;
        let need = |piece: PieceId, mask, flags| Want {
            lane: piece.lane.0,
            index: piece.index.0,
            mask,
            flags: FLAG_NEED | flags,
            root8: None,
        };
        let urgent_until = self.now.after(picker::urgent_window_us(&self.peers));
        let lacked = self.demands.iter().filter_map(|demand| {
            let mask = demand.mask.0 & !peer.has.mask(demand.piece);
            let flags = match demand.deadline {
                at if at <= urgent_until => FLAG_URGENT,
                at if at <= self.now.after(config::SOON_US) => FLAG_SOON,
                _ => 0,
            };
            (mask != 0).then(|| need(demand.piece, mask, flags))
        });
        let mut needs: Vec<Want> = lacked.take(ENTRIES_MAX).collect();
        if needs.is_empty() {
            needs.push(need(wire::piece_id(0, 0), 0, 0));
        }
        let peer = self.peers.get_mut(&conn).expect("it was found");
        if peer.needs_told != needs {
            peer.needs_told.clone_from(&needs);
            self.send(conn, &Message::Request(needs));
        }
    }

    /// A tab that has nobody but us says what it needs: as if our own player needed it.
    pub(super) fn needs(&mut self, conn: ConnId, wants: &[Want]) -> Result<(), Reason> {
        if self.role == Role::Publisher {
            return Ok(());
        }
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        let in_us = |flags: u8| match flags {
            flags if flags & FLAG_URGENT != 0 => 0,
            flags if flags & FLAG_SOON != 0 => config::SOON_US / 2,
            _ => config::SOON_US * 2,
        };
        let needs = wants.iter().map(|want| Demand {
            piece: wire::piece_id(want.lane, want.index),
            mask: Mask(want.mask),
            deadline: self.now.after(in_us(want.flags)),
        });
        peer.needs = needs.collect();
        self.demands_changed();
        Ok(())
    }

    /// Whether the player now urgently needs what it did not ask for before: it jumped.
    fn is_jump(&self, old: &[Demand]) -> bool {
        let urgent_until = self.now.after(picker::urgent_window_us(&self.peers));
        let missing = |demand: &Demand| {
            self.pieces
                .get(demand.piece)
                .map_or(0, |piece| piece.missing())
                & demand.mask.0
        };
        let covered = |demand: &Demand| {
            let same = old.iter().filter(|old| old.piece == demand.piece);
            missing(demand) & !same.fold(0, |mask, old| mask | old.mask.0) == 0
        };
        self.demands
            .iter()
            .take_while(|demand| demand.deadline <= urgent_until)
            .any(|demand| missing(demand) != 0 && !covered(demand))
    }

    /// After a jump: whatever is on its way and not demanded makes room.
    fn drop_old_requests(&mut self) {
        let mut demanded: SortedMap<PieceId, u64> = SortedMap::new();
        // The start set is on its way before the player knows what it needs.
        let start_set = self.start_set.iter().map(|(piece, mask)| (*piece, mask.0));
        for (piece, mask) in self
            .demands
            .iter()
            .map(|demand| (demand.piece, demand.mask.0))
            .chain(start_set)
        {
            *demanded.entry(piece).or_default() |= mask;
        }
        let keep = |piece: &PieceId| {
            if piece.lane.0 == 0 {
                u64::MAX
            } else {
                demanded.get(piece).copied().unwrap_or(0)
            }
        };
        let old = |peer: &crate::peer::Peer| {
            let masks = peer
                .down
                .owed
                .iter()
                .map(|(piece, owed)| (*piece, owed.mask & !keep(piece)));
            (
                peer.conn,
                masks.filter(|(_, mask)| *mask != 0).collect::<Vec<_>>(),
            )
        };
        for (conn, parts) in self.peers.values().map(old).collect::<Vec<_>>() {
            self.cancel_all(conn, parts);
        }
    }

    pub(super) fn cancel(&mut self, conn: ConnId, piece: PieceId, mask: u64) {
        self.cancel_all(conn, vec![(piece, mask)]);
    }

    /// Takes requests back; what comes all the same is not held against the peer.
    pub(super) fn cancel_all(&mut self, conn: ConnId, parts: Vec<(PieceId, u64)>) {
        for parts in parts.chunks(ENTRIES_MAX) {
            for &(piece, mask) in parts {
                let Some(peer) = self.peers.get_mut(&conn) else {
                    return;
                };
                let settled = peer.down.settle(piece, mask);
                peer.down.may_come(settled);
                self.pieces.release(piece, settled);
                self.withhold(conn, piece, settled, None, CANCEL_PAUSE_US);
            }
            self.send(
                conn,
                &Message::Cancel(
                    parts
                        .iter()
                        .map(|&(piece, mask)| Part::new(piece, Mask(mask)))
                        .collect(),
                ),
            );
        }
    }

    /// Everything that can be asked for now.
    pub(super) fn fetch(&mut self) {
        if self.role == Role::Publisher || self.stopped.is_some() || self.head.is_none() {
            return;
        }
        if self.start_wait.is_some_and(|(_, until)| self.now < until) && self.demands.is_empty() {
            return self.schedule_fetch();
        }
        self.start_wait = None;
        self.look_who_has_all();
        let demands = self.demands_with_manifest();
        let window_us = picker::urgent_window_us(&self.peers);
        let urgent_until = self.now.after(window_us);
        let mut hungry = false;
        for demand in demands
            .iter()
            .take_while(|demand| demand.deadline <= urgent_until)
        {
            self.fetch_urgent(demand);
            hungry |= self.is_coming(demand);
        }
        let jumping = hungry && self.now.since(self.jumped_at) < config::JUMP_US;
        let horizon = jumping.then(|| self.now.after(config::SOON_US));
        let conns: Vec<ConnId> = self.up().collect();
        for &conn in &conns {
            self.fill(conn, &demands, window_us, hungry, horizon);
        }
        self.send_asks();
        self.schedule_fetch();
    }

    /// Whether waiting for a demand is not in vain. What nobody here can give must not keep everything else from being fetched.
    fn is_coming(&self, demand: &Demand) -> bool {
        let Some(state) = self.pieces.get(demand.piece) else {
            return false;
        };
        let rest = state.full & !state.have & demand.mask.0;
        self.peers
            .values()
            .any(|peer| picker::helps(peer, demand.piece, rest))
    }

    /// Lane 0 is always wanted: at once while nothing of it is here, else soon.
    fn demands_with_manifest(&mut self) -> Vec<Demand> {
        let pieces = &self.pieces;
        self.demands.retain(|demand| {
            pieces
                .get(demand.piece)
                .is_none_or(|piece| demand.mask.0 & piece.full & !piece.have != 0)
        });
        let manifest = || pieces.ids().take_while(|id| id.lane.0 == 0);
        let missing: Vec<PieceId> = manifest()
            .filter(|&id| pieces.get(id).is_some_and(|piece| !piece.is_whole()))
            .collect();
        let started = missing.len() < manifest().count();
        if started && self.background_from.is_none() {
            self.background_from = Some(self.now.after(PLAYER_PATIENCE_US));
            self.timers
                .set_earlier(Timer::Fetch, self.now.after(PLAYER_PATIENCE_US));
        }
        let deadline = if started {
            self.now.after(3_000_000)
        } else {
            self.now
        };
        // Until its header tells how long it is: most manifests are short, and what is owed counts against the grant.
        let mask = |piece: PieceId| {
            if pieces.is_known(piece) {
                Mask(u64::MAX)
            } else {
                Mask(0xf)
            }
        };
        let lane_0 = missing.into_iter().take(64).map(|piece| Demand {
            piece,
            mask: mask(piece),
            deadline,
        });
        let mut demands: Vec<Demand> = lane_0.chain(self.demands.iter().copied()).collect();
        sort_by_key(&mut demands, |demand| (demand.deadline.0, 0));
        demands
    }

    /// Asks whoever is soonest for what is missing; tells those who owe it already that it is urgent; asks a second one if it is late.
    fn fetch_urgent(&mut self, demand: &Demand) {
        let (piece, mask) = (demand.piece, demand.mask.0);
        let Some(state) = self.pieces.get(piece) else {
            return;
        };
        let mut missing = state.missing() & mask;
        let in_flight = state.in_flight & mask;
        let no_time = demand.deadline <= self.now.after(config::NO_TIME_US);
        let flags = FLAG_URGENT | if no_time { FLAG_INSIST } else { 0 };
        while missing != 0 {
            let Some(conn) = picker::soonest(&self.peers, piece, missing, None, no_time) else {
                break;
            };
            let peer = &self.peers[&conn];
            let room = peer
                .down
                .grant
                .saturating_sub(peer.down.owed_blocks)
                .min(URGENT_RUN);
            let useful = picker::urgent_from(&self.peers, peer, piece, missing, no_time);
            let run = lowest(useful, room);
            self.ask(conn, piece, run, flags);
            missing &= !run;
        }
        if in_flight != 0 {
            self.hurry(piece, in_flight, flags);
        }
    }

    /// Blocks on their way became urgent, or urgent ones are late.
    fn hurry(&mut self, piece: PieceId, in_flight: u64, flags: u8) {
        let hedged = self.pieces.get(piece).map_or(0, |piece| piece.hedged);
        let mut late = Vec::new();
        let mut calm = Vec::new();
        for peer in self.peers.values() {
            let Some(owed) = peer.down.owed.get(&piece) else {
                continue;
            };
            let slow = owed.mask & !owed.urgent & in_flight;
            if slow != 0 {
                calm.push((peer.conn, slow));
            }
            let over = owed.mask & in_flight & !hedged;
            if over != 0 && self.now >= owed.late_at {
                late.push((peer.conn, over));
            }
        }
        for (conn, mask) in calm {
            let peer = self.peers.get_mut(&conn).expect("listed");
            peer.down.owed.get_mut(&piece).expect("listed").urgent |= mask;
            // Whoever takes that for a second request may send it twice.
            peer.down.may_come(mask);
            self.push_want(conn, piece, mask, flags);
        }
        for (conn, mask) in late {
            self.hedge(conn, piece, mask, flags);
        }
    }

    /// Asks a second peer for late blocks, within the budget for that.
    fn hedge(&mut self, first: ConnId, piece: PieceId, mask: u64, flags: u8) {
        let budget =
            config::HEDGE_FREE_BYTES + self.counters.received_bytes * config::HEDGE_PERMILLE / 1000;
        let blocks = budget.saturating_sub(self.counters.hedged_bytes) / BLOCK_LEN as u64;
        let Some(second) = picker::soonest(&self.peers, piece, mask, Some(first), true) else {
            return;
        };
        let peer = &self.peers[&second];
        let room = peer
            .down
            .grant
            .saturating_sub(peer.down.owed_blocks)
            .min(URGENT_RUN)
            .min(blocks.min(64) as u32);
        let run = lowest(
            picker::urgent_from(&self.peers, peer, piece, mask, true),
            room,
        );
        self.counters.hedged_bytes += u64::from(run.count_ones()) * BLOCK_LEN as u64;
        self.ask(second, piece, run, flags);
    }

    /// Keeps one peer's window full: demands in their order, then the rarest.
    fn fill(
        &mut self,
        conn: ConnId,
        demands: &[Demand],
        window_us: u64,
        hungry: bool,
        horizon: Option<Instant>,
    ) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let rtt_us = peer.rtt.least_us();
        // The last quarter of the grant is for what is urgent.
        let spare = (peer.down.grant * 3 / 4).saturating_sub(peer.down.owed_blocks);
        // A publisher gives what is new before what is urgent and somebody else has: that must not keep the new from being asked for.
        let apart = if peer.is_source() {
            peer.down.owed_urgent_blocks()
        } else {
            0
        };
        // More than a message waits in the queues of a crowd's slow ones, out of the reach of those who have nothing to do. A publisher
        // leaves to others what they have, and needs a choice of what is new.
        let in_crowd = self.peers.len() >= config::CROWD_PEERS;
        let least = if in_crowd && !peer.is_source() {
            0
        } else {
            LEAST_BLOCKS
        };
        let window = peer.down.window_blocks(rtt_us, least);
        let mut room = peer
            .down
            .room(window, apart)
            .min(spare)
            .min(self.trust(peer));
        let batch = BATCH.min(window / 4).max(1);
        let idle = peer.down.owed_blocks == 0;
        if peer.down.dry || !picker::is_open(peer) || room == 0 || room < batch && !idle {
            return;
        }
        let alone = self.peers.len() == 1;
        let soon_until = self.now.after(config::SOON_US);
        let near = demands.partition_point(|demand| demand.deadline <= soon_until);
        let (near, far) = demands.split_at(near);
        // In a crowd each begins somewhere else with what has time, or all would have the same of it and nothing to give each other.
        let start = match far.len() as u64 {
            len if in_crowd && len > 0 => (self.rng.next() % len) as usize,
            _ => 0,
        };
        for demand in near.iter().chain(&far[start..]).chain(&far[..start]) {
            if horizon.is_some_and(|horizon| demand.deadline > horizon) {
                return;
            }
            let peer = &self.peers[&conn];
            let Some(state) = self.pieces.get(demand.piece) else {
                continue;
            };
            let useful = picker::unhurried(
                &self.peers,
                peer,
                demand.piece,
                state.missing() & demand.mask.0,
                demand.deadline.since(self.now).max(config::SPARE_US),
            );
            if useful == 0 {
                continue;
            }
            // Who would be late is not asked, if somebody else could be; a stalled peer is tried with what can wait.
            let patience = if peer.down.stalled {
                config::PROBE_US
            } else {
                window_us / 4
            };
            let expected = self.now.after(peer.down.expected_us(rtt_us, 0) + patience);
            // What only a publisher has, who serves a crowd, comes late or not at all.
            let only_there = in_crowd && peer.is_source();
            let late = demand.deadline > self.now && expected > demand.deadline;
            if late && !alone && !only_there {
                continue;
            }
            let run = lowest(useful, room);
            let soon = demand.deadline <= self.now.after(config::SOON_US);
            self.ask(conn, demand.piece, run, if soon { FLAG_SOON } else { 0 });
            room -= run.count_ones();
            if room == 0 {
                return;
            }
        }
        let may_wander = self.focus_until <= self.now
            && self.background_from.is_some_and(|from| from <= self.now);
        // In a crowd what is urgent comes through others: whoever else has room must not stand idle for it.
        if may_wander && (!hungry || in_crowd && horizon.is_none()) {
            self.fill_background(conn, room);
        }
        if in_crowd {
            self.take_over(conn);
        }
    }

    /// Who owes us nothing is given what somebody else would bring much later.
    fn take_over(&mut self, conn: ConnId) {
        let peer = &self.peers[&conn];
        let down = &peer.down;
        if down.owed_blocks > 0 || down.stalled || peer.is_source() {
            return;
        }
        let enough_us = 2 * down.expected_us(peer.rtt.least_us(), 1) + TAKE_OVER_US;
        let rest_us = |other: &crate::peer::Peer| other.down.expected_us(other.rtt.least_us(), 0);
        let slow =
            |other: &&crate::peer::Peer| other.down.owed_blocks > 0 && rest_us(other) > enough_us;
        let mut slowest: Vec<(u64, ConnId)> = self
            .peers
            .values()
            .filter(slow)
            .map(|other| (rest_us(other), other.conn))
            .collect();
        slowest.sort_unstable();
        let found = slowest.iter().rev().find_map(|&(_, other)| {
            let last = |(piece, owed): (&PieceId, &Owed)| {
                let mask =
                    owed.mask & !owed.urgent & peer.has.mask(*piece) & !down.put_off_mask(*piece);
                (mask != 0).then_some((owed.late_at, *piece, mask))
            };
            let (_, piece, mask) = self.peers[&other].down.owed.iter().filter_map(last).max()?;
            Some((other, piece, mask))
        });
        if let Some((other, piece, mask)) = found {
            let rest = lowest(
                mask,
                mask.count_ones()
                    .saturating_sub(config::BLOCKS_PER_MESSAGE as u32),
            );
            let run = mask & !rest;
            self.cancel(other, piece, run);
            self.ask(conn, piece, run, 0);
        }
    }

    /// How many blocks are risked with a peer.
    fn trust(&self, peer: &crate::peer::Peer) -> u32 {
        let proven = |other: &crate::peer::Peer| {
            other.conn != peer.conn && other.down.received > 0 && picker::is_useful(other)
        };
        let most = if peer.down.stalled {
            config::TRUST_STALLED_BLOCKS
        } else if peer.down.received == 0 && self.peers.values().any(proven) {
            config::TRUST_NEW_BLOCKS
        } else {
            u32::MAX
        };
        most.saturating_sub(peer.down.owed_blocks)
    }

    fn fill_background(&mut self, conn: ConnId, mut room: u32) {
        while room > 0 {
            let peer = &self.peers[&conn];
            let going_on = peer.down.current.and_then(|piece| {
                let wanted = self.pieces.wanted(piece);
                let useful = picker::unhurried(&self.peers, peer, piece, wanted, config::SPARE_US);
                (useful != 0).then_some((piece, useful))
            });
            let start = self.rng.next();
            let peer = &self.peers[&conn];
            let choice =
                going_on.or_else(|| picker::rarest(&self.pieces, &self.peers, peer, start));
            let Some((piece, useful)) = choice else {
                self.nothing_left(conn, room);
                return;
            };
            let run = lowest(useful, room);
            self.peers.get_mut(&conn).expect("listed").down.current = Some(piece);
            self.ask(conn, piece, run, 0);
            room -= run.count_ones();
        }
    }

    /// A peer with nothing new to give may be asked for what others are late with.
    fn nothing_left(&mut self, conn: ConnId, room: u32) {
        let peer = self.peers.get_mut(&conn).expect("listed");
        peer.down.dry = true;
        if peer.down.stalled || peer.down.owed_blocks > 0 {
            return;
        }
        let late = self
            .peers
            .values()
            .filter(|other| other.conn != conn)
            .find_map(|other| {
                let hedged =
                    |piece: &PieceId| self.pieces.get(*piece).map_or(0, |piece| piece.hedged);
                let can = |piece: &PieceId| {
                    picker::urgent_from(&self.peers, &self.peers[&conn], *piece, u64::MAX, true)
                };
                let entry = |(piece, owed): (&PieceId, &Owed)| {
                    let mask = if self.now >= owed.late_at {
                        owed.mask & !hedged(piece) & can(piece)
                    } else {
                        0
                    };
                    (mask != 0).then_some((other.conn, *piece, lowest(mask, room)))
                };
                other.down.owed.iter().find_map(entry)
            });
        if let Some((first, piece, mask)) = late {
            self.hedge(first, piece, mask, 0);
        }
    }

    /// Counts blocks as owed and puts them on the next Request.
    fn ask(&mut self, conn: ConnId, piece: PieceId, mask: u64, flags: u8) {
        if mask != 0 {
            self.owe(conn, piece, mask, flags & FLAG_URGENT != 0);
            self.push_want(conn, piece, mask, flags);
        }
    }

    pub(super) fn owe(&mut self, conn: ConnId, piece: PieceId, mask: u64, urgent: bool) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let mask = mask & !peer.down.owed_mask(piece);
        if mask == 0 {
            return;
        }
        if peer.down.owed_blocks == 0 {
            peer.down.busy_since = self.now;
        }
        let rtt_us = peer.rtt.least_us();
        let expected = if urgent {
            peer.down.expected_urgent_us(rtt_us, 0)
        } else {
            peer.down.expected_us(rtt_us, mask.count_ones())
        };
        // Twice what is expected and a tenth of a second is past nearly all of them.
        let late_at = self.now.after(2 * expected + 100_000);
        let owed = peer.down.owed.entry(piece).or_insert(Owed {
            mask: 0,
            urgent: 0,
            late_at,
        });
        owed.mask |= mask;
        owed.urgent |= if urgent { mask } else { 0 };
        owed.late_at = owed.late_at.max(late_at);
        peer.down.owed_blocks += mask.count_ones();
        self.pieces.ask(piece, mask);
        self.want_hashes(piece);
    }

    fn push_want(&mut self, conn: ConnId, piece: PieceId, mask: u64, flags: u8) {
        let root8 = self.pieces.get(piece).and_then(|piece| piece.root8());
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let first = root8.is_none() && peer.down.unseen.insert(piece);
        let lost = first && self.lost_headers.contains(&piece);
        let flags = flags | if lost { FLAG_HEADER } else { 0 };
        let insisted = crate::peer::take_bits(&mut peer.down.insist, piece, mask);
        let wants = self.asks.entry(conn).or_default();
        for (mask, flags) in [(insisted, flags | FLAG_INSIST), (mask & !insisted, flags)] {
            let joins = |want: &Want| {
                (want.lane, want.index, want.flags) == (piece.lane.0, piece.index.0, flags)
            };
            match wants.last_mut() {
                _ if mask == 0 => {}
                Some(last) if joins(last) => last.mask |= mask,
                _ => wants.push(Want {
                    lane: piece.lane.0,
                    index: piece.index.0,
                    mask,
                    flags,
                    root8,
                }),
            }
        }
    }

    fn send_asks(&mut self) {
        for (conn, wants) in std::mem::take(&mut self.asks) {
            for wants in wants.chunks(ENTRIES_MAX) {
                self.send(conn, &Message::Request(wants.to_vec()));
            }
        }
    }

    /// Looks again soon while something is urgent, late or put off; not at all while nothing can change by itself.
    fn schedule_fetch(&mut self) {
        self.timers.cancel(Timer::Fetch);
        let urgent_until = self
            .now
            .after(picker::urgent_window_us(&self.peers) + 100_000);
        let near = self
            .demands
            .iter()
            .take_while(|demand| demand.deadline <= urgent_until);
        let provided = |demand: &Demand| {
            self.peers.values().any(|peer| {
                let gives = peer.has.mask(demand.piece) & !peer.down.refused_mask(demand.piece);
                picker::is_open(peer) && gives & demand.mask.0 != 0
            })
        };
        let waits =
            |peer: &crate::peer::Peer| peer.down.owed_blocks > 0 || !peer.down.withheld.is_empty();
        let pause_us = if near.into_iter().any(provided) {
            50_000
        } else if self.peers.values().any(waits) || self.demands.iter().any(provided) {
            250_000
        } else {
            0
        };
        // Counted from the last look: blocks that keep coming in must not put off what time alone changes.
        let mut at =
            (pause_us > 0).then(|| self.ticked_at.after(pause_us).max(self.now.after(1_000)));
        let mut also = |moment: Option<Instant>| {
            if let Some(moment) = moment.filter(|moment| *moment > self.now) {
                at = Some(at.map_or(moment, |at| at.min(moment)));
            }
        };
        also(self.start_wait.map(|(_, until)| until));
        also(self.background_from);
        for peer in self.peers.values() {
            also(peer.down.refused_until(self.now));
        }
        also(Some(self.focus_until));
        if let Some(at) = at {
            self.timers.set(Timer::Fetch, at);
        }
    }
}
