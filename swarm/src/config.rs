//! Limits and defaults, each with its reason.

/// What a driver may choose. The defaults are for a desktop browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Fetch everything, not only what is demanded.
    pub background: bool,
    /// Connections in all, incoming ones included. Chromium refuses after about 500 per page; each costs some 100 KiB.
    pub peers_max: u16,
    /// Connections to look for actively. Eight give eight sources and keep a random overlay connected.
    pub peers_wanted: u16,
    /// Attempts at once: a newcomer tries its best candidates together, and the first to answer shows the picture.
    pub connecting_max: u16,
    /// Credit of a connection before its first `Writable`: enough for the start set.
    pub initial_credit_bytes: u64,
    /// Blocks that one peer may have asked of us and not got: 512 × 16 KiB = 8 MiB, what 40 MB/s need at 200 ms.
    pub grant_blocks: u16,
    /// The same for a peer that has not given anything and is new: enough for the start set and two seconds of a film.
    pub grant_new_blocks: u16,
    /// Bytes to keep asked for from one peer at most: 8 MiB, as `grant_blocks`.
    pub request_window_max_bytes: u64,
    /// Bytes to keep asked for from a proven peer at least, in a crowd: one message.
    pub request_window_min_bytes: u64,
    /// Bytes asked for from a peer that has not delivered yet; doubled as it delivers.
    pub request_window_new_bytes: u64,
    /// Uploads at the start (see `Input::Budget`).
    pub upload_bytes_per_second: Option<u64>,
    /// Uploads paused at the start: metered links.
    pub upload_paused: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            background: true,
            peers_max: 24,
            peers_wanted: 12,
            connecting_max: 5,
            initial_credit_bytes: 256 * 1024,
            grant_blocks: 512,
            grant_new_blocks: 128,
            request_window_max_bytes: 8 << 20,
            request_window_min_bytes: 48 * 1024,
            request_window_new_bytes: 1 << 20,
            upload_bytes_per_second: None,
            upload_paused: false,
        }
    }
}

impl Config {
    /// For a television: a slow processor, little memory, nothing kept. It fetches what it plays and passes that on, to few and not fast: each
    /// megabyte costs a tenth of a second of a desktop's core, and a television has a third of one.
    pub fn television() -> Self {
        Config {
            background: false,
            peers_max: 8,
            peers_wanted: 6,
            upload_bytes_per_second: Some(512 * 1024),
            ..Config::default()
        }
    }
}

/// Pieces of one stream: 1 TiB. The head is signed by the publisher, but tables must not grow to what it dreams of.
pub(crate) const PIECES_MAX: u32 = 1 << 20;
/// Pieces of lane 0: a hundred versions of the longest manifest. They are looked through at every turn.
pub(crate) const MANIFEST_PIECES_MAX: u32 = 1024;
/// Lanes of one stream.
pub(crate) const LANES_MAX: usize = 64;
/// Demands of one `Demanded`: thirty seconds at 100 Mbit/s are 375 pieces.
pub(crate) const DEMANDS_MAX: usize = 2048;
/// Bytes of the start set, beside the manifest.
pub(crate) const START_SET_BYTES_MAX: u64 = 256 * 1024;
/// Blocks in one message: three and the message's head stay under 64 KiB.
pub(crate) const BLOCKS_PER_MESSAGE: usize = 3;
/// Blocks that overtook their header, per peer.
pub(crate) const PENDING_PEER_BYTES_MAX: usize = 1 << 20;
/// The same in all.
pub(crate) const PENDING_BYTES_MAX: usize = 4 << 20;
/// Blocks of one peer that may wait here: the largest grant that can be configured.
pub(crate) const REQUESTED_BLOCKS_MAX: u32 = 1024;
/// Blocks asked for in vain (beyond the grant, or not here): a burst, and then so many per second. Honest peers are told what is here and
/// how much they may ask for, so they do it only while such news is on its way.
pub(crate) const VAIN_BLOCKS_BURST: u64 = 8 * 1024;
/// See `VAIN_BLOCKS_BURST`.
pub(crate) const VAIN_BLOCKS_PER_SECOND: u64 = 512;
/// Headers that one peer may wait for while storage loads them. Beyond that a header comes with its piece's first block.
pub(crate) const UNTOLD_HEADERS_MAX: usize = 64;
/// Refusals of one piece that wait for its header.
pub(crate) const UNTOLD_REJECTS_MAX: usize = 8;
/// Headers being loaded for peers at a time: 35 KB.
pub(crate) const HEADER_LOADS_MAX: usize = 16;
/// What a header told once more counts for, in blocks asked for in vain: a thousand at once, and then 64 per second. Who lost its disk asks
/// again for as many as it fetches pieces.
pub(crate) const HEADER_AGAIN_BLOCKS: u32 = 8;
/// Pieces that may wait for their seal at a publisher because of one peer, cancelled or not: one being sealed, one read ahead.
pub(crate) const COLD_SEALS_PER_PEER: usize = 2;
/// The same for all peers together: each is a megabyte to read, seal and keep.
pub(crate) const COLD_SEALS_MAX: usize = 16;
/// Have is sent to one neighbour at most this often.
pub(crate) const HAVE_INTERVAL_US: u64 = 100_000;
/// Ack is sent so long after a block at the latest.
pub(crate) const ACK_INTERVAL_US: u64 = 50_000;
/// And after so many bytes of block messages, less than what a sender lets be under way at first: who waits for the interval sends in
/// bursts of that and stands still in between (a jump on loopback took 0.1 s longer). At 50 MB/s these are 260 messages a second.
pub(crate) const ACK_BYTES: u64 = 192 * 1024;
/// Who owes a sign of life for so long (and for four round trips) is mute: given nothing and not counted on until it is heard. Acks
/// come every 50 ms; a busy page's thread may stand still for half a second.
pub(crate) const MUTE_US: u64 = 600_000;
/// A round trip is taken for no longer than this where it decides how much may be under way or how long to be patient: the peer has a hand
/// in what is measured. A satellite's is 0.6 s.
pub(crate) const RTT_SANE_US: u64 = 1_000_000;
/// Who was not heard for so long is asked for a sign of life when others are sent to it. Who takes part says something ten times a
/// second.
pub(crate) const QUIET_US: u64 = 300_000;
/// Who owes a sign of life for so long is looked for a replacement for: its connection may be dead, which a browser says only after
/// fifteen seconds. A page that stands still for longer than this is rare.
pub(crate) const MISSING_US: u64 = 3_000_000;
/// Ping is sent this often when nothing else was heard, and measures the round trip.
pub(crate) const PING_INTERVAL_US: u64 = 5_000_000;
/// A connection on which nothing was heard for so long is gone: four pings.
pub(crate) const SILENT_US: u64 = 20_000_000;
/// A connection must say Hello within this time.
pub(crate) const HELLO_TIMEOUT_US: u64 = 10_000_000;
/// How long to wait for the answer about the start set before asking for the manifest piece by piece.
pub(crate) const START_SET_PATIENCE_US: u64 = 600_000;
/// All who are asked for it within this time share that patience.
pub(crate) const START_SET_AGAIN_US: u64 = 10_000_000;
/// Demands nearer than this are urgent whatever the round trip: asked of whoever is soonest, never put off to others.
pub(crate) const URGENT_MIN_US: u64 = 500_000;
/// And never more than this.
pub(crate) const URGENT_MAX_US: u64 = 4_000_000;
/// Demands nearer than this are soon: a seeder gives them before what is farther away, so that its uplink carries the film forward
/// once instead of the far end of it.
pub(crate) const SOON_US: u64 = 2_500_000;
/// For so long after a start or a jump, and while blocks are short, nothing that is not soon is asked for: it would only be in the way of
/// the picture. Longer would leave a seeder idle while those who are behind wait for those ahead.
pub(crate) const JUMP_US: u64 = 1_500_000;
/// Demands nearer than this are asked of a seeder with emphasis: there is no time to wait for another viewer's Have.
pub(crate) const NO_TIME_US: u64 = 150_000;
/// How long to wait for the peer that a seeder named before asking the seeder again, when it is urgent.
pub(crate) const URGENT_PATIENCE_US: u64 = 250_000;
/// How long to leave blocks to the peer that a seeder named before asking the seeder again.
pub(crate) const ASK_PEER_PATIENCE_US: u64 = 2_000_000;
/// Neighbours that make a crowd.
pub(crate) const CROWD_PEERS: usize = 6;
/// A peer that owes blocks and delivered none for so long is stalled: others get its blocks.
pub(crate) const STALLED_US: u64 = 4_000_000;
/// The same when some of them are urgent.
pub(crate) const STALLED_URGENT_US: u64 = 1_500_000;
/// The longest for a peer that delivers slowly: three messages' time at its rate.
pub(crate) const STALLED_SLOW_US: u64 = 12_000_000;
/// The same for a peer that never delivered anything.
pub(crate) const STALLED_NEW_US: u64 = 1_000_000;
/// Blocks asked of a peer that has not delivered yet while others have: few are lost if it never does.
pub(crate) const TRUST_NEW_BLOCKS: u32 = 16;
/// A publisher is spared what another peer has, if that one brings it within this time. Longer, and one slow viewer that has everything
/// would set the pace of everybody.
pub(crate) const SPARE_US: u64 = 2_000_000;
/// And if those who have it are together no slower than the publisher by more than this factor: what sparing it may cost.
pub(crate) const SPARE_FACTOR: u64 = 8;
/// A peer is taken for no slower than a guess until it delivered so much: the first samples are of its busiest moment.
pub(crate) const SPARE_PROVEN_BYTES: u64 = 512 * 1024;
/// Who refused a block because it was full is asked for it again after this time, doubled each time.
pub(crate) const CHOKED_PAUSE_US: u64 = 100_000;
/// Who could not seal a piece is asked for it again after this time, doubled each time.
pub(crate) const SEAL_FAILED_PAUSE_US: u64 = 1_000_000;
/// Neither pause is longer than this.
pub(crate) const REFUSED_PAUSE_MAX_US: u64 = 60_000_000;
/// A stalled peer is asked for nothing that is played sooner than this.
pub(crate) const PROBE_US: u64 = 10_000_000;
/// Blocks asked of a stalled peer, to see whether it recovers.
pub(crate) const TRUST_STALLED_BLOCKS: u32 = 2;
/// Share of received bytes that may be asked of two peers, in thousandths.
pub(crate) const HEDGE_PERMILLE: u64 = 50;
/// Bytes that may be asked twice before there is a share to speak of: the start.
pub(crate) const HEDGE_FREE_BYTES: u64 = 128 * 1024;
/// Bytes loaded or being loaded ahead of one connection's credit: a disk read or a seal overlaps with sending.
pub(crate) const LOAD_AHEAD_BLOCKS: usize = 48;
/// Candidates remembered.
pub(crate) const CANDIDATES_MAX: usize = 256;
/// Failures in a row after which a candidate is forgotten, until the server names it again or a minute passed: a minute and a half.
pub(crate) const FAILURES_MAX: u32 = 5;
/// The same for one that we were connected with: an hour, in which the network may have been away.
pub(crate) const FAILURES_KNOWN_MAX: u32 = 60;
/// Candidates that one peer may name: a burst, and then so many per second.
pub(crate) const NAMED_BURST: u64 = 64;
/// See `NAMED_BURST`.
pub(crate) const NAMED_PER_SECOND: u64 = 1;
/// Who was connected for so long, or gave a block, begins anew with its failures.
pub(crate) const PROVED_US: u64 = 4_000_000;
/// Peers remembered as thrown out.
pub(crate) const BANNED_MAX: usize = 1024;
/// First pause after a failed connection, doubled each time.
pub(crate) const RETRY_MIN_US: u64 = 2_000_000;
/// Longest pause after failed connections.
pub(crate) const RETRY_MAX_US: u64 = 60_000_000;
/// Neighbours named to a neighbour, and how often at most.
pub(crate) const NEIGHBOURS_MAX: usize = 32;
/// See `NEIGHBOURS_MAX`.
pub(crate) const NEIGHBOURS_INTERVAL_US: u64 = 5_000_000;
/// An introduced blob: offers are about 1 KiB, with many candidates 4 KiB.
pub(crate) const BLOB_BYTES_MAX: usize = 8 * 1024;
/// Introductions from one peer: a burst, and then so many microseconds each.
pub(crate) const INTRODUCTIONS_BURST: u64 = 32;
/// See `INTRODUCTIONS_BURST`.
pub(crate) const INTRODUCTION_INTERVAL_US: u64 = 500_000;
/// Introductions passed on to one peer, whoever they come from: half of what it takes from one peer.
pub(crate) const PASSED_ON_BURST: u64 = 16;
/// See `PASSED_ON_BURST`.
pub(crate) const PASSED_ON_INTERVAL_US: u64 = 1_000_000;
/// Control messages from one peer: a burst, and then so many per second. Bulk needs about 40 Acks and 70 Requests per second.
pub(crate) const MESSAGES_BURST: u64 = 4_000;
/// See `MESSAGES_BURST`.
pub(crate) const MESSAGES_PER_SECOND: u64 = 1_000;
/// Each so many bytes of a control message, begun ones too, count as one message: a thousand entries are more work than one. The longest
/// header is below it.
pub(crate) const MESSAGE_UNIT_BYTES: usize = 4096;
/// A signature checked for nothing costs as much as so many other messages: 50 us against one.
pub(crate) const CHECK_MESSAGES: u64 = 50;
/// Looks at what to ask for: a burst, and then one in a millisecond. Each goes through all demands and peers.
pub(crate) const FETCHES_BURST: u64 = 64;
/// See `FETCHES_BURST`.
pub(crate) const FETCHES_PER_SECOND: u64 = 1_000;
/// Pieces of a Have that were said before, for which it counts as one message more. Honest peers say them once.
pub(crate) const HAVE_AGAIN_PER_MESSAGE: u64 = 64;
/// Blocks that nobody asked for, beyond those that were taken back or asked for twice: a few that cross something else, and nothing like a flood.
pub(crate) const UNASKED_BYTES_MAX: u64 = 16 << 20;
/// New bytes from a peer after which it gets a receipt, or sooner when it owes nothing any more. Looked at with each Ping: so it signs, and
/// its peer checks, at most twelve times a minute.
pub(crate) const RECEIPT_BYTES: u64 = 4 << 20;
/// Receipts shown to one neighbour at a time, and how often at most.
pub(crate) const RECEIPTS_SHOWN_MAX: usize = 4;
/// See `RECEIPTS_SHOWN_MAX`.
pub(crate) const RECEIPTS_SHOWN_INTERVAL_US: u64 = 60_000_000;
/// Receipts from one peer: a burst, and then so many per second. Four times what was said above; each may cost a signature check.
pub(crate) const RECEIPTS_BURST: u64 = 32;
/// See `RECEIPTS_BURST`.
pub(crate) const RECEIPTS_PER_SECOND: u64 = 1;
/// Receivers whose word for one neighbour is remembered.
pub(crate) const VOUCHERS_MAX: usize = 8;
/// Peers that went, of whom it is remembered who gave whom how much: 36 KB.
pub(crate) const ACCOUNTS_MAX: usize = 256;
/// What anybody may take before it is asked whether it gives: the start, and two seconds of a film or more.
pub(crate) const NEWCOMER_BYTES: u64 = 1 << 20;
/// What a peer must have given to be served twice as often as others.
pub(crate) const GIVER_BYTES: u64 = 1 << 20;
/// Report is sent at most this often.
pub(crate) const REPORT_INTERVAL_US: u64 = 10_000_000;
