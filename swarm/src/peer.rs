//! One connected peer: what it has, what it owes us (`Download`), what we owe it (`Upload`).

use crate::bits::Bits;
use crate::config::{self, Config};
use crate::face::{Binding, ConnId, Demand, Path, Role};
use crate::have::HaveMap;
use crate::rate::{Bucket, Goodput, Rate};
use crate::timer::Instant;
use crate::uplink;
use crate::wire::{Receipt, Reject, Want};
use baton_content::{Lane, PeerId, PieceId, VerifiedBlock};
use baton_sorted::{SortedMap, SortedSet};
use bytes::Bytes;
use std::collections::VecDeque;

/// Who gave whom how much, since the two met first; not between tabs. Connections come and go, this stays for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Bytes of blocks from it that verified and were new.
    pub(crate) received: u64,
    /// Of those, what it was last told in a receipt.
    pub(crate) signed: u64,
    /// Bytes of block messages to it that it acknowledged.
    pub(crate) given: u64,
    /// The highest receipt that it signed for us.
    pub(crate) receipt: Option<Receipt>,
}

impl Account {
    /// What it signed, and we gave: nobody's generosity shows more.
    pub(crate) fn confirmed(&self) -> u64 {
        let receipt = self.receipt.map_or(0, |receipt| receipt.bytes);
        receipt.min(self.given)
    }

    /// How much of it there is to forget.
    pub(crate) fn weight(&self) -> u64 {
        self.received + self.given
    }
}

/// What somebody said who got something from a neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouched {
    pub(crate) by: PeerId,
    /// The bytes of its receipt.
    pub(crate) said: u64,
    /// What of that counts: see `Swarm::vouch`.
    pub(crate) counts: u64,
}

/// Whose turn it is to be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Twice as often as others.
    Gives,
    #[default]
    Usual,
    /// It takes and does not give: what others leave of the uplink.
    Last,
}

/// Everything about one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) id: PeerId,
    pub(crate) binding: Binding,
    pub(crate) path: Path,
    /// What its Hello said; before that nothing else is heard.
    pub(crate) role: Option<Role>,
    pub(crate) heard_at: Instant,
    /// Since when it owes us a sign of life: blocks or a Ping went to it, and nothing was heard since.
    waits_since: Option<Instant>,
    pub(crate) has: HaveMap,
    /// Whether it has all pieces that the head names, as of the last look.
    pub(crate) has_all: bool,
    /// The revision of the newest head that it is known to have; 0 for none.
    pub(crate) head_revision: u64,
    /// Pieces about which it has not heard our news yet.
    pub(crate) news: SortedSet<PieceId>,
    pub(crate) have_sent_at: Option<Instant>,
    pub(crate) neighbours: Vec<PeerId>,
    /// Whether it was told ours.
    pub(crate) neighbours_told: bool,
    /// Candidates that it may name.
    pub(crate) named: Bucket,
    pub(crate) connected_at: Instant,
    pub(crate) messages: Bucket,
    pub(crate) introductions: Bucket,
    /// Others' introductions that we pass on to it: fewer than it takes from us, so that nobody can have us thrown out there.
    pub(crate) passed_on: Bucket,
    /// Blocks asked for in vain.
    pub(crate) vain: Bucket,
    /// Receipts, its own and those that it shows.
    pub(crate) receipts: Bucket,
    pub(crate) account: Account,
    pub(crate) vouched: Vec<Vouched>,
    pub(crate) standing: Standing,
    /// `account.given` as of the last looks: its receipts for that are due.
    pub(crate) given_before: [u64; 3],
    /// When our receipts were shown to it last, and how much they confirmed then.
    pub(crate) shown: Option<(Instant, u64)>,
    pub(crate) rtt: Rtt,
    pub(crate) wire_received: u64,
    /// Whether it was asked for the start set: each connection is, at most once.
    pub(crate) start_asked: bool,
    /// Whether its answer is still to come.
    pub(crate) start_due: bool,
    /// Of a tab that has nobody but us: what its player needs and was not here.
    pub(crate) needs: Vec<Demand>,
    /// What we, who have nobody but it, told it of our own.
    pub(crate) needs_told: Vec<Want>,
    pub(crate) down: Download,
    pub(crate) up: Upload,
}

impl Peer {
    pub(crate) fn new(
        conn: ConnId,
        id: PeerId,
        binding: Binding,
        path: Path,
        config: &Config,
        now: Instant,
    ) -> Self {
        Peer {
            conn,
            id,
            binding,
            path,
            role: None,
            heard_at: now,
            waits_since: None,
            has: HaveMap::default(),
            has_all: false,
            head_revision: 0,
            news: SortedSet::new(),
            have_sent_at: None,
            neighbours: Vec::new(),
            neighbours_told: false,
            named: Bucket::new(config::NAMED_PER_SECOND, config::NAMED_BURST, now),
            connected_at: now,
            messages: Bucket::new(config::MESSAGES_PER_SECOND, config::MESSAGES_BURST, now),
            introductions: Bucket::new(
                1_000_000 / config::INTRODUCTION_INTERVAL_US,
                config::INTRODUCTIONS_BURST,
                now,
            ),
            passed_on: Bucket::new(
                1_000_000 / config::PASSED_ON_INTERVAL_US,
                config::PASSED_ON_BURST,
                now,
            ),
            vain: Bucket::new(
                config::VAIN_BLOCKS_PER_SECOND,
                config::VAIN_BLOCKS_BURST,
                now,
            ),
            receipts: Bucket::new(config::RECEIPTS_PER_SECOND, config::RECEIPTS_BURST, now),
            account: Account::default(),
            vouched: Vec::new(),
            standing: Standing::default(),
            given_before: [0; 3],
            shown: None,
            rtt: Rtt::default(),
            wire_received: 0,
            start_asked: false,
            start_due: false,
            needs: Vec::new(),
            needs_told: Vec::new(),
            down: Download::new(config, now),
            up: Upload::new(config),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.role.is_some()
    }

    /// Another tab of this browser.
    pub(crate) fn is_local(&self) -> bool {
        self.path == Path::Local
    }

    /// What goes there does not pass the uplink: another tab, or somebody in the same house.
    pub(crate) fn is_near(&self) -> bool {
        self.is_local() || self.rtt.base_us().is_some_and(|us| us <= uplink::NEAR_US)
    }

    /// Bytes on their way to it, and to its channel.
    pub(crate) fn under_way(&self) -> u64 {
        self.up.block_bytes - self.up.acked
            + self.up.ahead_blocks() as u64 * baton_content::BLOCK_LEN as u64
    }

    /// As many of them as the uplink holds if it queues as long as it may; what is more than that waits elsewhere for this peer.
    pub(crate) fn share(&self) -> u64 {
        let us = self.rtt.base_us().unwrap_or(0).min(config::RTT_SANE_US)
            + uplink::TARGET_US
            + uplink::ACK_US;
        let rate = self.up.goodput.bytes_per_second();
        rate.map_or(u64::MAX, |rate| rate.saturating_mul(us) / 1_000_000)
    }

    /// Blocks in one message: on a slow link each goes by itself, so that it can be passed on sooner and does not queue for long.
    pub(crate) fn blocks_per_message(&self, uplink_is_slow: bool) -> usize {
        let rate = self.up.goodput.bytes_per_second();
        if uplink_is_slow && !self.is_near() || rate.is_some_and(|rate| rate < 400_000) {
            1
        } else {
            config::BLOCKS_PER_MESSAGE
        }
    }

    /// We have nobody but this tab.
    pub(crate) fn leads_us(&self) -> bool {
        self.is_local() && self.binding.offerer
    }

    /// A message came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.waits_since = None;
    }

    /// Something went to it that is answered at once.
    pub(crate) fn expect_sign(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// When it will be mute, if nothing is heard; `None` where nothing is due. A browser that is killed stays connected until ICE gives
    /// up, fifteen seconds and more: until then it must not be counted on, nor its share of the uplink be kept for it.
    pub(crate) fn mute_at(&self) -> Option<Instant> {
        self.waits_since
            .map(|since| since.after(self.patience_us()))
    }

    fn patience_us(&self) -> u64 {
        let rtt_us = self.rtt.smoothed_us().unwrap_or(0).min(config::RTT_SANE_US);
        (4 * rtt_us).max(config::MUTE_US)
    }

    /// When it will count as one that takes and does not acknowledge, whatever else it says; `None` while everything is acknowledged. Its
    /// share of the uplink is not kept for it, and it gets nothing more until it acknowledges.
    pub(crate) fn deaf_at(&self) -> Option<Instant> {
        let oldest = self.up.oldest_unacked();
        oldest.map(|sent| sent.after(self.patience_us()))
    }

    /// Whether it owes a sign of life, or an Ack, for too long: given nothing more, and not counted on.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.is_mute(now) || self.deaf_at().is_some_and(|at| at <= now)
    }

    /// Whether it owes a sign of life for too long.
    pub(crate) fn is_mute(&self, now: Instant) -> bool {
        self.mute_at().is_some_and(|at| at <= now)
    }

    /// Whether it owes one for so long that its connection is probably dead.
    pub(crate) fn is_missing(&self, now: Instant) -> bool {
        let missing = |since| now.since(since) >= config::MISSING_US;
        self.waits_since.is_some_and(missing)
    }

    pub(crate) fn is_publisher(&self) -> bool {
        self.role == Some(Role::Publisher)
    }

    /// Whether it says that it is the publisher and says that it has everything. Anybody may say so: it must be worth nothing to a liar,
    /// so all that follows is that it is asked for less.
    pub(crate) fn is_source(&self) -> bool {
        self.is_publisher() && self.has_all
    }
}

/// The round trip: smoothed as in RFC 6298, and the least of the last ten to twenty seconds (a machine that got busy counts, a queue of
/// ours does not).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    smoothed_us: Option<u64>,
    lately: Least,
    base: Least,
}

const RTT_WINDOW_US: u64 = 10_000_000;
/// What the way takes without a queue is looked for in the last three to six minutes: longer than a queue of somebody else's lasts
/// without a gap, shorter than a film, so that another route is believed in time.
const BASE_WINDOW_US: u64 = 180_000_000;

/// The least of this window and the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Least {
    us: Option<u64>,
    before_us: Option<u64>,
    since: Instant,
}

impl Least {
    fn add(&mut self, now: Instant, window_us: u64, sample_us: u64) {
        if now.since(self.since) >= window_us {
            self.before_us = self.us.take();
            self.since = now;
        }
        self.us = Some(self.us.map_or(sample_us, |old| old.min(sample_us)));
    }

    fn get(&self) -> Option<u64> {
        self.us.into_iter().chain(self.before_us).min()
    }
}

impl Rtt {
    pub(crate) fn add(&mut self, now: Instant, sample_us: u64) {
        self.smoothed_us = Some(
            self.smoothed_us
                .map_or(sample_us, |old| (old * 7 + sample_us) / 8),
        );
        self.lately.add(now, RTT_WINDOW_US, sample_us);
        self.base.add(now, BASE_WINDOW_US, sample_us);
    }

    /// What the way takes without a queue, so far as is known.
    pub(crate) fn base_us(&self) -> Option<u64> {
        self.base.get()
    }

    /// The same, and how much longer a sample took.
    pub(crate) fn queued(&self, sample_us: u64) -> (u64, u64) {
        let base_us = self.least_us().min(self.base_us().unwrap_or(sample_us));
        (base_us, sample_us.saturating_sub(base_us))
    }

    pub(crate) fn smoothed_us(&self) -> Option<u64> {
        self.smoothed_us
    }

    /// The least seen lately, or a guess across a country before anything was. Never more than what is sane: windows are sized by it.
    pub(crate) fn least_us(&self) -> u64 {
        self.lately.get().unwrap_or(50_000).min(config::RTT_SANE_US)
    }
}

/// Blocks of one piece that a peer owes us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    pub(crate) mask: u64,
    /// Those of them that it knows to be urgent.
    pub(crate) urgent: u64,
    /// Past this it is later than nearly always (its p95): somebody else may be asked.
    pub(crate) late_at: Instant,
}

/// Blocks that a seeder left to somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Withheld {
    pub(crate) mask: u64,
    pub(crate) until: Instant,
}

/// Blocks that a peer refused though it has them: not asked of it before the time, however urgent they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) mask: u64,
    pub(crate) until: Instant,
    pub(crate) times: u32,
    /// It cannot seal the piece; a new grant does not change that.
    pub(crate) seal: bool,
}

/// What a peer gives us.
#[derive(Debug)]
pub(crate) struct Download {
    /// Blocks that may be asked for at a time.
    pub(crate) grant: u32,
    pub(crate) owed: SortedMap<PieceId, Owed>,
    pub(crate) owed_blocks: u32,
    /// Since when it has owed us something without a pause.
    pub(crate) busy_since: Instant,
    /// By piece and by whom the seeder named; `None`: just cancelled, the block may still be on its way.
    pub(crate) withheld: SortedMap<(PieceId, Option<PeerId>), Withheld>,
    /// Blocks that it refused, by piece.
    pub(crate) refused: SortedMap<PieceId, Refused>,
    /// Blocks that were left to somebody else in vain: ask with emphasis.
    pub(crate) insist: SortedMap<PieceId, u64>,
    pub(crate) goodput: Goodput,
    pub(crate) rate: Rate,
    pub(crate) received: u64,
    pub(crate) delivered_at: Option<Instant>,
    /// It owed for too long: not counted on until it delivers again.
    pub(crate) stalled: bool,
    /// It has nothing that is wanted, as of the last look; cleared by whatever could change that.
    pub(crate) dry: bool,
    /// The background goes on with this piece.
    pub(crate) current: Option<PieceId>,
    /// Pieces asked for before there was a header: its own is on its way.
    pub(crate) unseen: SortedSet<PieceId>,
    /// Blocks that overtook their header, and what they count for: each as a whole block, however short it is.
    pub(crate) pending: SortedMap<PieceId, SortedMap<u8, Bytes>>,
    pub(crate) pending_bytes: usize,
    /// How many more bytes may come that nobody asked for (any more).
    pub(crate) unasked_room: u64,
    /// Of the newest block message, for the Ack.
    pub(crate) echo: Option<(u32, Instant)>,
    /// Bytes of block messages that arrived, and how many of them were acknowledged.
    pub(crate) block_bytes: u64,
    pub(crate) acked_bytes: u64,
    window_new: u64,
    window_min: u64,
    window_max: u64,
}

impl Download {
    fn new(config: &Config, now: Instant) -> Self {
        Download {
            grant: 0,
            owed: SortedMap::new(),
            owed_blocks: 0,
            busy_since: now,
            withheld: SortedMap::new(),
            refused: SortedMap::new(),
            insist: SortedMap::new(),
            goodput: Goodput::default(),
            rate: Rate::default(),
            received: 0,
            delivered_at: None,
            stalled: false,
            dry: false,
            current: None,
            unseen: SortedSet::new(),
            pending: SortedMap::new(),
            pending_bytes: 0,
            unasked_room: config::UNASKED_BYTES_MAX,
            echo: None,
            block_bytes: 0,
            acked_bytes: 0,
            window_new: config.request_window_new_bytes,
            window_min: config.request_window_min_bytes,
            window_max: config.request_window_max_bytes,
        }
    }

    /// How many blocks to keep asked for: what it delivers in its round trip and half a second more. A window that limits what is
    /// measured still grows, until half a second is queued there; before there is a measurement it doubles with each window delivered.
    pub(crate) fn window_blocks(&self, rtt_us: u64, least: u32) -> u32 {
        let block = baton_content::BLOCK_LEN as u64;
        let least = (u64::from(least) * block).max(self.window_min);
        let bytes = match self.goodput.bytes_per_second() {
            Some(rate) => rate.saturating_mul(rtt_us + 500_000) / 1_000_000,
            None => self.window_new + self.received * 2,
        };
        (bytes.max(least).min(self.window_max) / block) as u32
    }

    /// How many more blocks may be asked for, so many of the owed ones not counted.
    pub(crate) fn room(&self, window: u32, apart: u32) -> u32 {
        window
            .min(self.grant)
            .saturating_sub(self.owed_blocks - apart)
    }

    pub(crate) fn owed_urgent_blocks(&self) -> u32 {
        let urgent = self.owed.values().map(|owed| owed.urgent.count_ones());
        urgent.sum()
    }

    /// What it delivers, or a guess before that was measured.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.goodput
            .bytes_per_second()
            .unwrap_or(1_000_000)
            .max(1_000)
    }

    /// The same, but no less than the guess before there is enough to judge it by.
    pub(crate) fn hopeful_bytes_per_second(&self) -> u64 {
        let rate = self.bytes_per_second();
        if self.received < config::SPARE_PROVEN_BYTES {
            rate.max(1_000_000)
        } else {
            rate
        }
    }

    /// When a block asked for now is expected to be here.
    pub(crate) fn expected_us(&self, rtt_us: u64, more_blocks: u32) -> u64 {
        let rate = self.bytes_per_second();
        let bytes = u64::from(self.owed_blocks + more_blocks + 1) * baton_content::BLOCK_LEN as u64;
        rtt_us + bytes.saturating_mul(1_000_000) / rate
    }

    /// When an urgent block is expected: it overtakes what is not.
    pub(crate) fn expected_urgent_us(&self, rtt_us: u64, more_blocks: u32) -> u64 {
        let rate = self.bytes_per_second();
        let urgent = self.owed_urgent_blocks();
        let bytes = u64::from(urgent + more_blocks + 1) * baton_content::BLOCK_LEN as u64;
        rtt_us + bytes.saturating_mul(1_000_000) / rate
    }

    pub(crate) fn owed_mask(&self, piece: PieceId) -> u64 {
        self.owed.get(&piece).map_or(0, |owed| owed.mask)
    }

    pub(crate) fn withheld_mask(&self, piece: PieceId) -> u64 {
        self.withheld
            .range((piece, None)..)
            .take_while(|((at, _), _)| *at == piece)
            .fold(0, |mask, (_, held)| mask | held.mask)
    }

    pub(crate) fn refused_mask(&self, piece: PieceId) -> u64 {
        self.refused.get(&piece).map_or(0, |refused| refused.mask)
    }

    /// What it is not to be asked for now: left to others, just cancelled, or refused.
    pub(crate) fn put_off_mask(&self, piece: PieceId) -> u64 {
        if self.withheld.is_empty() && self.refused.is_empty() {
            return 0;
        }
        self.withheld_mask(piece) | self.refused_mask(piece)
    }

    /// It refused: a pause, twice as long each time.
    pub(crate) fn refuse(&mut self, now: Instant, piece: PieceId, mask: u64, seal: bool) {
        let first_us = if seal {
            config::SEAL_FAILED_PAUSE_US
        } else {
            config::CHOKED_PAUSE_US
        };
        let refused = self.refused.entry(piece).or_insert(Refused {
            mask: 0,
            until: now,
            times: 0,
            seal,
        });
        let pause_us = (first_us << refused.times.min(10)).min(config::REFUSED_PAUSE_MAX_US);
        refused.mask |= mask;
        refused.until = now.after(pause_us);
        refused.times += 1;
        refused.seal |= seal;
    }

    /// Pauses that are over; how often they were is remembered for twice the longest pause.
    pub(crate) fn end_refusals(&mut self, now: Instant) {
        self.refused.retain(|_, refused| {
            if refused.until <= now {
                refused.mask = 0;
            }
            now.since(refused.until) < 2 * config::REFUSED_PAUSE_MAX_US
        });
    }

    /// When the next of its refusals ends.
    pub(crate) fn refused_until(&self, now: Instant) -> Option<Instant> {
        let ends = self.refused.values().map(|refused| refused.until);
        ends.filter(|until| *until > now).min()
    }

    /// These blocks are not held against the peer if they come though nobody waits for them.
    pub(crate) fn may_come(&mut self, mask: u64) {
        self.unasked_room += u64::from(mask.count_ones()) * baton_content::BLOCK_LEN as u64;
    }

    /// Takes blocks off what is owed; which of `mask` were.
    pub(crate) fn settle(&mut self, piece: PieceId, mask: u64) -> u64 {
        let Some(owed) = self.owed.get_mut(&piece) else {
            return 0;
        };
        let settled = owed.mask & mask;
        owed.mask &= !settled;
        owed.urgent &= !settled;
        if owed.mask == 0 {
            self.owed.remove(&piece);
        }
        self.owed_blocks -= settled.count_ones();
        settled
    }
}

/// Blocks of one piece that a peer asked for and that are not being loaded yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) mask: u64,
    pub(crate) urgent: u64,
    pub(crate) soon: u64,
    /// Those to be sent even if others got them.
    pub(crate) firm: u64,
    /// Those that we decided to send: the start set.
    pub(crate) pushed: u64,
}

impl Asked {
    fn remove(&mut self, mask: u64) {
        for bits in [
            &mut self.mask,
            &mut self.urgent,
            &mut self.soon,
            &mut self.firm,
            &mut self.pushed,
        ] {
            *bits &= !mask;
        }
    }
}

/// A block message that was sent.
#[derive(Clone, Copy, Debug)]
struct Unacked {
    /// Bytes of block messages, with this one.
    end: u64,
    sent: Instant,
    piece: PieceId,
    mask: u64,
}

/// How blocks are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) urgent: bool,
    pub(crate) soon: bool,
    pub(crate) firm: bool,
    pub(crate) pushed: bool,
}

/// Queue entries before those that were cancelled are swept out: twice what the request limit allows to be live.
const QUEUE_MAX: usize = 2 * crate::config::REQUESTED_BLOCKS_MAX as usize;

/// What a peer wants from us.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The last grant that we sent.
    pub(crate) grant: u16,
    pub(crate) asked: SortedMap<PieceId, Asked>,
    pub(crate) asked_blocks: u32,
    /// Order of service: urgent, soon, the rest; in each, blocks in the order in which they were asked for. What was cancelled is skipped.
    pub(crate) queues: [VecDeque<(PieceId, u64)>; 3],
    pub(crate) loading: SortedMap<PieceId, u64>,
    pub(crate) loading_blocks: u32,
    pub(crate) ready: VecDeque<VerifiedBlock>,
    pub(crate) ready_urgent: VecDeque<VerifiedBlock>,
    /// Blocks of the loading ones that are urgent.
    pub(crate) loading_urgent: SortedMap<PieceId, u64>,
    /// Blocks it got or is about to get from us and has not told that it has.
    pub(crate) given: SortedMap<PieceId, u64>,
    headers: SortedMap<Lane, Bits>,
    /// Headers that count as told and are still being loaded, and what is to be said after each.
    pub(crate) untold: SortedMap<PieceId, Vec<Reject>>,
    pub(crate) credit: u64,
    pub(crate) wire_sent: u64,
    /// Bytes of block messages, and how many of them arrived.
    pub(crate) block_bytes: u64,
    pub(crate) acked: u64,
    /// Block messages that were not acknowledged: `block_bytes` after each, and when it was sent.
    unacked: VecDeque<Unacked>,
    pub(crate) busy_since: Instant,
    pub(crate) goodput: Goodput,
    pub(crate) rate: Rate,
    pub(crate) sent: u64,
}

impl Upload {
    fn new(config: &Config) -> Self {
        Upload {
            grant: 0,
            asked: SortedMap::new(),
            asked_blocks: 0,
            queues: Default::default(),
            loading: SortedMap::new(),
            loading_blocks: 0,
            ready: VecDeque::new(),
            ready_urgent: VecDeque::new(),
            loading_urgent: SortedMap::new(),
            given: SortedMap::new(),
            headers: SortedMap::new(),
            untold: SortedMap::new(),
            credit: config.initial_credit_bytes,
            wire_sent: 0,
            block_bytes: 0,
            acked: 0,
            unacked: VecDeque::new(),
            busy_since: Instant::default(),
            goodput: Goodput::default(),
            rate: Rate::default(),
            sent: 0,
        }
    }

    /// Block bytes that may be under way: what arrives in a round trip and a tenth of a second, and half as much more, so that a
    /// cancel works and yet a link that could carry more shows it. One message always.
    pub(crate) fn under_way_max(&self, rtt_us: u64) -> u64 {
        match self.goodput.bytes_per_second() {
            Some(rate) => (rate.saturating_mul(rtt_us + 100_000) / 1_000_000 * 3 / 2)
                .clamp(64 * 1024, 16 << 20),
            None => 256 * 1024 + self.acked * 2,
        }
    }

    /// A block message went out. The list is as long as what may be under way.
    pub(crate) fn sent_message(&mut self, now: Instant, len: u64, piece: PieceId, mask: u64) {
        self.block_bytes += len;
        self.unacked.push_back(Unacked {
            end: self.block_bytes,
            sent: now,
            piece,
            mask,
        });
    }

    /// Blocks of a piece that are sent and not acknowledged: they will come, and need not be sent again.
    fn on_its_way(&self, piece: PieceId) -> u64 {
        let of_piece = self.unacked.iter().filter(|it| it.piece == piece);
        of_piece.fold(0, |all, it| all | it.mask)
    }

    /// The peer does not have these, whatever it got.
    pub(crate) fn forget_given(&mut self, piece: PieceId, mask: u64) {
        take_bits(&mut self.given, piece, mask);
        for it in self.unacked.iter_mut().filter(|it| it.piece == piece) {
            it.mask &= !mask;
        }
    }

    /// The peer has so many bytes of block messages. How many of them are news.
    pub(crate) fn take_ack(&mut self, bytes: u64) -> u64 {
        let new = bytes.min(self.block_bytes).saturating_sub(self.acked);
        self.acked += new;
        while self.unacked.front().is_some_and(|it| it.end <= self.acked) {
            self.unacked.pop_front();
        }
        new
    }

    /// When the oldest message went out that was not acknowledged.
    pub(crate) fn oldest_unacked(&self) -> Option<Instant> {
        self.unacked.front().map(|it| it.sent)
    }

    /// Whether another block message may go.
    pub(crate) fn may_send(&self, rtt_us: u64, len: u64) -> bool {
        self.wire_sent + len <= self.credit
            && self.block_bytes - self.acked < self.under_way_max(rtt_us)
    }

    /// Blocks on their way from the disk or waiting for credit.
    pub(crate) fn ahead_blocks(&self) -> usize {
        self.loading_blocks as usize + self.ready.len() + self.ready_urgent.len()
    }

    /// Whether the peer must be sent the header; it is considered sent from now on.
    pub(crate) fn needs_header(&mut self, piece: PieceId) -> bool {
        self.headers
            .entry(piece.lane)
            .or_default()
            .insert(piece.index.0)
    }

    /// The peer has lost it.
    pub(crate) fn forget_header(&mut self, piece: PieceId) {
        self.headers
            .entry(piece.lane)
            .or_default()
            .remove(piece.index.0);
    }

    /// Adds what is asked for. Blocks that are being loaded or sent already are not asked for again, but may have become urgent.
    pub(crate) fn ask(&mut self, piece: PieceId, mask: u64, manner: Manner) {
        if manner.urgent {
            self.hurry(piece, mask);
        }
        let under_way = self.loading.get(&piece).copied().unwrap_or(0) | self.ready_mask(piece);
        let mask = mask & !under_way & !self.on_its_way(piece);
        if mask == 0 {
            return;
        }
        let asked = self.asked.entry(piece).or_default();
        self.asked_blocks += (mask & !asked.mask).count_ones();
        asked.mask |= mask;
        let place = if manner.urgent {
            asked.urgent |= mask;
            asked.soon &= !mask;
            0
        } else if manner.soon {
            asked.soon |= mask & !asked.urgent;
            1
        } else {
            2
        };
        asked.firm |= if manner.firm { mask } else { 0 };
        asked.pushed |= if manner.pushed { mask } else { 0 };
        let queue = &mut self.queues[place];
        match queue.back_mut() {
            Some((last, blocks)) if *last == piece => *blocks |= mask,
            _ => queue.push_back((piece, mask)),
        }
        if queue.len() > QUEUE_MAX {
            let mut seen: SortedMap<PieceId, u64> = SortedMap::new();
            let asked = &self.asked;
            queue.retain_mut(|(piece, blocks)| {
                let seen = seen.entry(*piece).or_default();
                *blocks &= asked.get(piece).map_or(0, |asked| asked.mask) & !*seen;
                *seen |= *blocks;
                *blocks != 0
            });
        }
    }

    /// Blocks that are being loaded, or wait for their turn, go before what is not urgent.
    fn hurry(&mut self, piece: PieceId, mask: u64) {
        let loading = mask & self.loading.get(&piece).copied().unwrap_or(0);
        if loading != 0 {
            *self.loading_urgent.entry(piece).or_default() |= loading;
        }
        let hit =
            |block: &VerifiedBlock| block.piece() == piece && mask >> block.block().0 & 1 == 1;
        if !self.ready.iter().any(hit) {
            return;
        }
        let (urgent, calm) = std::mem::take(&mut self.ready).into_iter().partition(hit);
        self.ready = calm;
        self.ready_urgent.extend::<VecDeque<_>>(urgent);
    }

    fn ready_mask(&self, piece: PieceId) -> u64 {
        let of_piece = |block: &&VerifiedBlock| block.piece() == piece;
        self.ready
            .iter()
            .chain(&self.ready_urgent)
            .filter(of_piece)
            .fold(0, |mask, block| mask | 1 << block.block().0)
    }

    /// Takes blocks off what is asked for; which of `mask` were.
    pub(crate) fn unask(&mut self, piece: PieceId, mask: u64) -> u64 {
        let Some(asked) = self.asked.get_mut(&piece) else {
            return 0;
        };
        let taken = asked.mask & mask;
        asked.remove(taken);
        if asked.mask == 0 {
            self.asked.remove(&piece);
        }
        self.asked_blocks -= taken.count_ones();
        taken
    }

    /// Takes blocks off the loading ones; which of `mask` were, and whether they are urgent.
    pub(crate) fn unload(&mut self, piece: PieceId, mask: u64) -> (u64, u64) {
        let taken = take_bits(&mut self.loading, piece, mask);
        self.loading_blocks -= taken.count_ones();
        (taken, take_bits(&mut self.loading_urgent, piece, taken))
    }

    /// Everything that the peer waits for.
    pub(crate) fn waiting_blocks(&self) -> u32 {
        self.asked_blocks + self.ahead_blocks() as u32
    }
}

/// Removes bits from a map of masks; which were there.
pub(crate) fn take_bits(map: &mut SortedMap<PieceId, u64>, piece: PieceId, mask: u64) -> u64 {
    let Some(bits) = map.get_mut(&piece) else {
        return 0;
    };
    let taken = *bits & mask;
    *bits &= !taken;
    if *bits == 0 {
        map.remove(&piece);
    }
    taken
}
