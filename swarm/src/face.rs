//! The engine's face: everything that happens is an [`Input`], everything to do is an [`Output`].

use crate::timer::Instant;
use baton_content::{
    Header, Mask, PeerId, PieceId, PublisherId, SignedHead, SwarmId, VerifiedBlock,
};
use bytes::Bytes;

/// One connection to one peer, numbered by the driver. Never reused; an input for one that is gone is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The stream that this engine takes part in.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who signs heads and piece headers; from the link.
    pub publisher: PublisherId,
    /// The swarm's public key; derived from the link.
    pub swarm: SwarmId,
    /// The highest head known (persisted, never goes back). A publisher always has one.
    pub head: Option<SignedHead>,
}

/// What this engine is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Holds the signing key and every piece that the head names: seals on demand, fetches nothing.
    Publisher,
    /// Fetches demands first and, if configured, everything else; serves what it has.
    Viewer,
    /// As a viewer, but nobody here can read it; never delivers.
    Keeper,
}

/// The two negotiated data channels of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Id 0, ordered and reliable.
    Control,
    /// Id 1, unordered and reliable: blocks.
    Data,
}

/// How the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Peer to peer.
    Direct,
    /// Through a TURN server or the signalling server.
    Relay,
    /// Between two tabs of one browser. The tab that made the offer has nobody else: the other one fetches for it. That takes no upload,
    /// is not what peers do for each other, and nobody else hears of it.
    Local,
}

/// What offer and answer fixed about one connection, and what both Hellos prove (docs/protocol-wire.md#hello).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The session nonce that this side put into its offer or answer.
    pub local_nonce: [u8; 16],
    /// The session nonce of the other side's.
    pub remote_nonce: [u8; 16],
    /// SHA-256 fingerprint of this side's DTLS certificate.
    pub local_fingerprint: [u8; 32],
    /// SHA-256 fingerprint of the other side's.
    pub remote_fingerprint: [u8; 32],
    /// Whether this side made the offer.
    pub offerer: bool,
}

/// Bytes that the player needs by a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// In which piece.
    pub piece: PieceId,
    /// Which of its blocks.
    pub mask: Mask,
    /// When playback would stall without them; a time that has passed means at once.
    pub deadline: Instant,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Both channels to `peer` are open. The engine sends its Hello in answer, at once.
    Connected {
        conn: ConnId,
        peer: PeerId,
        binding: Binding,
        path: Path,
    },
    /// A message arrived.
    Received {
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    /// How many bytes in all, both channels together and counted since `Connected`, the driver takes: bytes that left its
    /// send buffer + what the buffer may hold (256 KiB to 1 MiB). It never shrinks. Control messages are sent (and counted) even
    /// beyond it; they are small. Until the first one the credit is [`crate::Config::initial_credit_bytes`].
    Writable { conn: ConnId, credit: u64 },
    /// The connection ended, whoever ended it. Not needed after an `Output::Disconnect`, harmless if given.
    Disconnected { conn: ConnId },
    /// `Output::Connect` did not lead to a connection (timeout, Gone, refused).
    ConnectFailed { peer: PeerId },
    /// Whom the server or storage names, best first. Replaces the last ranking; peers that it lacks are kept at its end.
    Candidates(Vec<PeerId>),
    /// The driver cannot reach `to` through a server: pass this sealed offer or answer through a neighbour.
    Signal { to: PeerId, blob: Bytes },
    /// What the player needs, replacing what it needed before. Any order.
    Demanded(Vec<Demand>),
    /// Until then nothing but demands (and lane 0) is fetched: the player is about to show a picture, and every other byte competes with
    /// it. Replaces the last; a moment that has passed ends it.
    Focus { until: Instant },
    /// Publisher: a newer head (a lane grew or ended). Viewers may give a persisted one too.
    Head(SignedHead),
    /// What the first picture needs, most important first: at most 256 KiB are sent to a newcomer that asks. Lane 0 comes before
    /// it by itself. Whoever knows the manifest (publisher or viewer) gives it.
    StartSet(Vec<(PieceId, Mask)>),
    /// Publisher: answer to `Output::Seal`; also welcome unasked (background sealing).
    Sealed { header: Header },
    /// Publisher: the piece cannot be sealed (file changed, unreadable). Whoever asked for it is told.
    SealFailed { piece: PieceId },
    /// Storage gives this piece's header whenever it is asked (`Output::LoadHeader`), so that the hashes of a whole piece need not be in
    /// memory: 180 bytes stay of 2.2 KB.
    HeaderKept { piece: PieceId },
    /// Answer to `Output::LoadHeader`.
    HeaderLoaded { header: Header },
    /// Storage has not got the header any more: the piece is no longer had.
    HeaderFailed { piece: PieceId },
    /// Storage turned out to hold these blocks, by a header that was verified: it may be opened after the engine began, so that nothing
    /// waits for it. The persisted head goes before them (`Head`).
    Found { header: Header, mask: Mask },
    /// Answer to `Output::Load`, one per block.
    Loaded { block: VerifiedBlock },
    /// These blocks cannot be loaded: they are no longer had.
    LoadFailed { piece: PieceId, mask: Mask },
    /// These blocks are safe.
    Stored { piece: PieceId, mask: Mask },
    /// These blocks could not be kept: they are no longer had (and are fetched again when demanded).
    StoreFailed { piece: PieceId, mask: Mask },
    /// These blocks were dropped to make room: no longer had. They are fetched again only when demanded.
    Evicted { piece: PieceId, mask: Mask },
    /// How much may be uploaded. `None`: no limit. Paused: choke everyone, but go on fetching.
    Budget {
        upload_bytes_per_second: Option<u64>,
        paused: bool,
    },
    /// The wall clock, for heads that expire.
    Clock { unix_now_s: u64 },
    /// The time of `poll_timeout` came.
    TimedOut,
    /// This peer goes: say Goodbye to all and disconnect, so that others switch at once.
    Leaving,
}

/// What to do, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send one message.
    Send {
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    /// Try to connect; answered by `Connected` or `ConnectFailed`.
    Connect { peer: PeerId },
    /// Close this connection (after flushing what was sent). The engine has already forgotten it.
    Disconnect { conn: ConnId, reason: Reason },
    /// A sealed offer or answer from `from` came through a neighbour: handle it as if from the server.
    Signal { from: PeerId, blob: Bytes },
    /// Tell the server.
    Report {
        completeness_permille: u16,
        free_slots: u8,
    },
    /// Publisher: seal this piece and answer `Sealed`. Keep the sealed bytes a while: `Load`s of them follow.
    Seal { piece: PieceId },
    /// Load these blocks and answer `Loaded` for each, or `LoadFailed`.
    Load { piece: PieceId, mask: Mask },
    /// Load the header of this piece, which was said to be kept, and answer `HeaderLoaded` or `HeaderFailed`.
    LoadHeader { piece: PieceId },
    /// Nobody needs these any more; a `Loaded` that comes all the same is ignored.
    CancelLoad { piece: PieceId, mask: Mask },
    /// Keep this block. `Load`s that follow must find it, even before it is answered `Stored`.
    Store { block: VerifiedBlock },
    /// A block for the reader (not at keepers), as it came; each block once unless it was lost and fetched again.
    Deliver(VerifiedBlock),
    /// News for the session.
    Event(Event),
}

/// News for the session.
#[derive(Clone, Debug)]
pub enum Event {
    /// A higher head, already verified: persist it.
    HeadChanged(SignedHead),
    /// A peer's Hello was accepted.
    PeerJoined { conn: ConnId, peer: PeerId },
    /// A peer was thrown out, and why.
    PeerRefused { peer: PeerId, reason: Reason },
    /// Every piece that the head names is here, and no data lane is open.
    Complete,
    /// The publisher signed two different pieces under one index. The engine has stopped.
    Fraud { piece: PieceId },
    /// The publisher's manifests are longer than a stream's may be ([`baton_content::manifest::MANIFEST_LANE_LEN_MAX`]): everybody would have to keep
    /// them all. The engine has stopped.
    ManifestTooLong,
    /// The head says that the stream has expired. Nothing is fetched or served any more.
    Expired,
    /// The publisher could not seal this piece.
    SealFailed { piece: PieceId },
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// It said Goodbye, or we leave.
    #[error("goodbye")]
    Goodbye,
    /// A second connection to the same peer.
    #[error("a second connection to the same peer")]
    Duplicate,
    /// As many peers as we take.
    #[error("no free place")]
    Full,
    /// Replaced by somebody more useful.
    #[error("little use")]
    Useless,
    /// Nothing was heard for too long.
    #[error("silent for too long")]
    Silent,
    /// A message that is none, at this byte offset or for this cause.
    #[error("malformed message: {0}")]
    Malformed(#[from] crate::wire::WireError),
    /// The Hello proves something else than this connection.
    #[error("hello does not prove this connection")]
    BadHello,
    /// A message before Hello, or a second Hello.
    #[error("message out of turn")]
    OutOfTurn,
    /// A head that the publisher did not sign.
    #[error("head is not the publisher's")]
    BadHead,
    /// A piece header that the publisher did not sign, or one for another stream.
    #[error("piece header is not the publisher's")]
    BadHeader,
    /// A block that is not what its header says: the peer sent wrong bytes.
    #[error("wrong block {2} of lane {0} piece {1}")]
    Poison(u16, u32, u8),
    /// Fraud evidence that proves nothing.
    #[error("false evidence")]
    FalseEvidence,
    /// A receipt that its receiver did not sign, or not for this giver and stream.
    #[error("receipt is not the receiver's")]
    BadReceipt,
    /// More of something than the limits allow.
    #[error("flood of {0}")]
    Flood(Flood),
    /// It was thrown out before.
    #[error("thrown out before")]
    Banned,
    /// The stream's publisher signed two truths; nothing is exchanged any more.
    #[error("publisher's fraud")]
    Fraud,
    /// The stream has expired.
    #[error("stream expired")]
    Expired,
    /// The stream's manifests are longer than they may be; nothing is exchanged any more.
    #[error("manifests too long")]
    ManifestTooLong,
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Flood {
    /// Requested blocks waiting.
    #[error("requests")]
    Requests,
    /// Blocks that nobody asked for.
    #[error("unasked blocks")]
    Blocks,
    /// Control messages.
    #[error("messages")]
    Messages,
    /// Introductions.
    #[error("introductions")]
    Introductions,
    /// Receipts.
    #[error("receipts")]
    Receipts,
}

/// Numbers for plots, pages and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connected peers whose Hello was accepted.
    pub peers: Vec<PeerStats>,
    /// Blocks that verified.
    pub verified_blocks: u64,
    /// Blocks that did not; each cost its sender the connection.
    pub rejected_blocks: u64,
    /// Bytes of blocks that were asked of two peers.
    pub hedged_bytes: u64,
    /// Bytes of blocks that arrived though they were here already.
    pub duplicate_bytes: u64,
    /// Block bytes had (a publisher: of sealed pieces only).
    pub have_bytes: u64,
    /// Share of the stream had here, in thousandths; 1000 only when whole.
    pub completeness_permille: u16,
    /// Share of the stream that the other connected peers have together, in thousandths, rounded down. Neither the publisher nor
    /// those who paused passing on are counted: what nobody can get from them does not outlive us.
    pub others_union_permille: u16,
    /// Connected peers that have everything and pass it on, the publisher not counted.
    pub complete_peers: u32,
    /// Every block that is missing here is at a connected peer (the publisher counts) that passes on. False while no head is known, so
    /// that "nobody who has the rest is here" can be said although somebody is connected; true when nothing is missing.
    pub missing_reachable: bool,
    /// Connected peers that have something that is missing here and have paused passing on.
    pub paused_peers: u32,
    /// Block bytes sent, over all connections so far.
    pub sent_bytes: u64,
    /// Of those, what receivers signed that they got. Less than `sent_bytes`: what came twice is not, and the newest not yet.
    pub confirmed_bytes: u64,
    /// How many peers signed that.
    pub confirmed_by: u32,
    /// Block bytes received, over all connections so far.
    pub received_bytes: u64,
    /// Of those, from peers that are not the publisher.
    pub received_from_viewers_bytes: u64,
    /// Message bytes in both directions, control included.
    pub wire_sent_bytes: u64,
    /// See `wire_sent_bytes`.
    pub wire_received_bytes: u64,
    /// Blocks asked for and not here yet.
    pub blocks_in_flight: u32,
}

/// One connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStats {
    /// Who.
    pub id: PeerId,
    /// Over which connection.
    pub conn: ConnId,
    /// What it says it is.
    pub role: Role,
    /// Smoothed round trip, once measured.
    pub rtt_us: Option<u64>,
    /// Block bytes per second from it, over about the last two seconds.
    pub down_bytes_per_second: u64,
    /// Block bytes per second to it.
    pub up_bytes_per_second: u64,
    /// Block bytes from it.
    pub received_bytes: u64,
    /// Block bytes to it.
    pub sent_bytes: u64,
    /// Share of the stream it has, in thousandths.
    pub complete_permille: u16,
    /// It gives nothing at present: its grant is 0.
    pub paused: bool,
    /// How the packets go.
    pub path: Path,
}
