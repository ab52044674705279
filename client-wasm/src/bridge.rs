//! What page and worker say to each other.
//!
//! Two forms. What is rare goes as one postcard-encoded [`ToWorker`] or [`ToPage`]. What is hot (channel messages,
//! credits, media segments) goes as a plain JavaScript array whose buffers are transferred, never copied; its first
//! element is one of the `HOT_` numbers below. Stream and connection numbers are made on the page and never reused.

use baton_content::SwarmId;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A cold message: `[COLD, Uint8Array, attachment?]`.
pub const COLD: u32 = 0;
/// A message from a channel to the worker: `[HOT_RECEIVED, stream, conn, channel, ArrayBuffer]`.
pub const HOT_RECEIVED: u32 = 1;
/// Absolute send credit of a connection, bytes: `[HOT_CREDIT, stream, conn, credit]`.
pub const HOT_CREDIT: u32 = 2;
/// Messages for channels: `[HOT_SEND, stream, (conn, channel, ArrayBuffer)…]`.
pub const HOT_SEND: u32 = 3;
/// An init or a media segment: `[HOT_SEGMENT, stream, track, generation, start_s, ArrayBuffer, random_access]`.
pub const HOT_SEGMENT: u32 = 4;
/// The generation of an init segment: what comes before a jump and after it needs it alike.
pub const INIT_GENERATION: u32 = u32::MAX;
/// Where the viewer is: `[HOT_PLAYHEAD, stream, playhead_s, until_s]`.
pub const HOT_PLAYHEAD: u32 = 5;

/// A subtitle: `[HOT_CUE, stream, track, start_s, end_s, text, top]`.
pub const HOT_CUE: u32 = 6;
/// What the film is made of, as JavaScript sees it: `[HOT_FILM, stream, Film]`.
pub const HOT_FILM: u32 = 7;
/// `[HOT_CHAPTERS, stream, Chapter[]]`.
pub const HOT_CHAPTERS: u32 = 8;
/// The two channels of a connection move to the worker: `[HOT_CHANNELS, stream, conn, control, data]`.
pub const HOT_CHANNELS: u32 = 9;

/// The answer to `Still`: `[HOT_STILL, stream, request, at_s, mime, ArrayBuffer]`, or without the last three where there is none.
pub const HOT_STILL: u32 = 10;
/// The answer to `Read`: `[HOT_READ, stream, request, ArrayBuffer]`, or what went wrong in place of the buffer.
pub const HOT_READ: u32 = 11;

/// Another tab of this browser, over something that looks like two data channels (web/src/worker-tabs.ts): `[HOT_TAB, stream, conn, control,
/// data, peer, nonce, offerer]`.
pub const HOT_TAB: u32 = 12;
/// Numbers of such connections begin here; the page's own never get that far.
pub const TAB_CONNS: u64 = 1 << 40;

/// Number of a stream within one page.
pub type StreamNumber = u32;

/// What a publisher's worker needs to serve a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShareSpec {
    /// Seed of the publisher's signing key; fresh random bytes.
    pub publisher_seed: [u8; 32],
    /// The link's secret.
    pub secret: [u8; 16],
    /// The content key; fresh random bytes.
    pub content_key: [u8; 32],
    /// Nonce for wrapping the content key.
    pub slot_nonce: [u8; 24],
    /// Whether an earlier page began this share: what it signed must be known before anything is sent.
    pub resumed: bool,
    /// What viewers see instead of the name of the file. Of several files, what they are called together.
    pub title: Option<String>,
    /// Several files, or a folder, even if it holds one file only.
    pub folder: bool,
    pub files: Vec<FileSpec>,
}

/// One file of a share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileSpec {
    /// Its name, behind the folders that it is in.
    pub path: String,
    /// The browser's guess, empty where it has none.
    pub mime: String,
    /// Bytes.
    pub size: u64,
}

/// What a viewer may use of this machine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Means {
    /// Whether what comes is kept on disk where that is possible.
    pub keep: bool,
    /// Whether there is little of everything: a television.
    pub small: bool,
}

/// News for the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToWorker {
    /// Share files; the attachment is an array of them, in the order of the spec.
    Share {
        stream: StreamNumber,
        peer_seed: [u8; 32],
        spec: ShareSpec,
        /// Whether what was signed is kept on disk, so that the share can be resumed.
        keep: bool,
    },
    /// Fetch what the link's fragment names.
    Open {
        stream: StreamNumber,
        peer_seed: [u8; 32],
        fragment: String,
        means: Means,
    },
    /// Somebody wants to look at it: start the media engine.
    Attach {
        stream: StreamNumber,
        /// Which file; the first that can be played if nobody chose.
        file: Option<u32>,
        mp3_in_mp4: bool,
        /// Whether this browser plays AC-3 itself.
        ac3: bool,
    },
    /// The page plays the file by itself, from what it reads: the media engine ends.
    Release { stream: StreamNumber },
    /// Peers that the server proposes, best first.
    Candidates {
        stream: StreamNumber,
        peers: Vec<[u8; 32]>,
    },
    /// Offer and answer are known of a connection whose channels the worker has: it stands as soon as both are open.
    Agreed {
        stream: StreamNumber,
        conn: u64,
        peer: [u8; 32],
        binding: Binding,
    },
    /// Both channels to a peer, which stay on the page, are open.
    Connected {
        stream: StreamNumber,
        conn: u64,
        peer: [u8; 32],
        binding: Binding,
    },
    /// A connection is gone.
    Disconnected { stream: StreamNumber, conn: u64 },
    /// A peer could not be reached.
    ConnectFailed {
        stream: StreamNumber,
        peer: [u8; 32],
    },
    /// The server cannot carry this blob: a neighbour may.
    Introduce {
        stream: StreamNumber,
        to: [u8; 32],
        blob: Vec<u8>,
    },
    /// The person jumped to a place, seconds; what comes from there carries this generation.
    Seek {
        stream: StreamNumber,
        to_s: f64,
        generation: u32,
    },
    /// The picture of the place that the person last jumped to (or of the beginning) is on the screen.
    Shown { stream: StreamNumber },
    /// Which tracks to produce from now on; what comes of it carries this generation.
    Select {
        stream: StreamNumber,
        tracks: Vec<u32>,
        generation: u32,
    },
    /// The last picture at or before a place, seconds, that can be shown by itself, if it is here; the answer carries the same number.
    Still {
        stream: StreamNumber,
        request: u32,
        at_s: f64,
    },
    /// The bytes of one piece of a file once they are here, and past its last piece the plain BLAKE3 of what this reader read; the
    /// answer carries the same number.
    Read {
        stream: StreamNumber,
        request: u32,
        reader: u32,
        file: u32,
        piece: u32,
    },
    /// How politely to upload.
    Upload {
        stream: StreamNumber,
        paused: bool,
        bytes_per_second: Option<u64>,
    },
    /// Leave the swarm.
    Close { stream: StreamNumber },
}

/// The transport's facts that both sides' first messages prove (docs/protocol-wire.md, Hello).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Binding {
    pub local_nonce: [u8; 16],
    pub remote_nonce: [u8; 16],
    pub local_fingerprint: [u8; 32],
    pub remote_fingerprint: [u8; 32],
    pub offerer: bool,
}

/// News for the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToPage {
    /// Make a connection to this peer.
    Connect {
        stream: StreamNumber,
        peer: [u8; 32],
    },
    /// Close a connection.
    Disconnect { stream: StreamNumber, conn: u64 },
    /// Both channels of a connection are open; the worker has them.
    Opened { stream: StreamNumber, conn: u64 },
    /// A channel that the worker has closed, or refuses to send.
    Gone { stream: StreamNumber, conn: u64 },
    /// A blob that came through a neighbour.
    Introduced {
        stream: StreamNumber,
        from: [u8; 32],
        blob: Vec<u8>,
    },
    /// What to tell the server of us.
    Report {
        stream: StreamNumber,
        completeness_permille: u16,
        free_slots: u8,
    },
    /// What comes from here on is of what the page attached last.
    Attached { stream: StreamNumber },
    /// What the stream is.
    Meta { stream: StreamNumber, meta: Meta },
    /// What the film is made of.
    Ready { stream: StreamNumber, info: Info },
    /// The film's duration became better known, microseconds.
    Duration {
        stream: StreamNumber,
        duration_us: u64,
    },
    /// A track has no more segments.
    TrackEnded {
        stream: StreamNumber,
        track: u32,
        generation: u32,
    },
    /// The numbers of a moment.
    Stats {
        stream: StreamNumber,
        stats: Box<Stats>,
    },
    /// Something a person should know.
    Problem {
        stream: StreamNumber,
        problem: Option<Problem>,
    },
}

/// What a stream is, as its manifest says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub title: String,
    /// To save it under, without folders.
    pub name: String,
    /// Of a single file.
    pub mime: String,
    /// Bytes of all files.
    pub size: u64,
    /// Several files, or a folder.
    pub folder: bool,
    /// A share has no list: whoever shares knows it.
    pub files: Vec<FileMeta>,
    /// Whether the media engine is worth asking.
    pub playable: bool,
    /// Microseconds.
    pub duration_us: Option<u64>,
    /// Plain BLAKE3 of the file, once its publisher has read all of it.
    pub blake3: Option<[u8; 32]>,
}

/// What one file of a stream is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileMeta {
    /// As every system takes it.
    pub path: String,
    pub mime: String,
    /// Bytes.
    pub size: u64,
    pub playable: bool,
    /// Microseconds.
    pub duration_us: Option<u64>,
    pub blake3: Option<[u8; 32]>,
}

/// What a film is made of, as the player needs to know it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    pub tracks: Vec<Track>,
    /// Microseconds.
    pub duration_us: Option<u64>,
}

/// One track that the media engine can give.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    pub id: u32,
    pub kind: TrackKind,
    /// The full type for `addSourceBuffer`; empty where no browser could play it.
    pub mime: String,
    /// For a person to read.
    pub codec: String,
}

/// What a track is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackKind {
    #[default]
    Video,
    Audio,
    Text,
}

/// One neighbour, as the pages show it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerStats {
    pub id: [u8; 32],
    pub conn: u64,
    /// `publisher`, `seeder`, `viewer` or `keeper`.
    pub role: PeerRole,
    /// Microseconds; `None` until measured.
    pub rtt_us: Option<u64>,
    pub down_bytes_per_second: u64,
    pub up_bytes_per_second: u64,
    pub received: u64,
    pub sent: u64,
    pub complete_permille: u16,
}

/// What a neighbour is to the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerRole {
    Publisher,
    Seeder,
    #[default]
    Viewer,
    Keeper,
}

/// The worker's numbers at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub complete: bool,
    pub have_permille: u16,
    pub bytes_verified: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Of those, what others signed that they got, and how many they are.
    pub bytes_confirmed: u64,
    pub confirmed_by: u32,
    pub verified_blocks: u64,
    pub rejected_blocks: u64,
    pub from_viewers: u64,
    pub others_permille: u16,
    pub complete_peers: u32,
    /// All that is missing here is at somebody who is connected and passes on.
    pub missing_reachable: bool,
    /// Who has something that is missing here and passes nothing on.
    pub paused_peers: u32,
    /// While the file is being read for its hash.
    pub hash_permille: Option<u16>,
    pub blake3: Option<[u8; 32]>,
    /// The file that is played, if any.
    pub file: Option<u32>,
    /// Byte ranges of it that are here, in order; as coarse as a slider shows them.
    pub have_ranges: Vec<(u64, u64)>,
    /// Of `bytes_verified`, what is on disk and survives a reload.
    pub bytes_stored: u64,
    pub peers: Vec<PeerStats>,
}

/// Why something does not go on, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub code: ProblemCode,
    pub detail: Option<String>,
}

/// The kinds of problem that the pages have sentences for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProblemCode {
    BadLink,
    WrongVersion,
    NobodyHere,
    AllPaused,
    ServerLost,
    ServerRefused,
    UnsupportedMedia,
    UnsupportedBrowser,
    FileChanged,
    FileUnreadable,
    Ended,
    Expired,
    Fraud,
    MediaBroken,
    NoSound,
    EngineStopped,
}

impl ProblemCode {
    /// The code as the TypeScript face spells it.
    pub fn name(self) -> &'static str {
        match self {
            ProblemCode::BadLink => "bad-link",
            ProblemCode::WrongVersion => "wrong-version",
            ProblemCode::NobodyHere => "nobody-here",
            ProblemCode::AllPaused => "all-paused",
            ProblemCode::ServerLost => "server-lost",
            ProblemCode::ServerRefused => "server-refused",
            ProblemCode::UnsupportedMedia => "unsupported-media",
            ProblemCode::UnsupportedBrowser => "unsupported-browser",
            ProblemCode::FileChanged => "file-changed",
            ProblemCode::FileUnreadable => "file-unreadable",
            ProblemCode::Ended => "ended",
            ProblemCode::Expired => "expired",
            ProblemCode::Fraud => "fraud",
            ProblemCode::MediaBroken => "media-broken",
            ProblemCode::NoSound => "no-sound",
            ProblemCode::EngineStopped => "engine-stopped",
        }
    }
}

impl ToWorker {
    /// Which stream it is about.
    pub fn stream(&self) -> StreamNumber {
        use ToWorker::*;
        match self {
            Share { stream, .. }
            | Open { stream, .. }
            | Attach { stream, .. }
            | Release { stream }
            | Candidates { stream, .. }
            | Agreed { stream, .. }
            | Connected { stream, .. }
            | Disconnected { stream, .. }
            | ConnectFailed { stream, .. }
            | Introduce { stream, .. }
            | Seek { stream, .. }
            | Shown { stream }
            | Select { stream, .. }
            | Still { stream, .. }
            | Read { stream, .. }
            | Upload { stream, .. }
            | Close { stream } => *stream,
        }
    }

    /// The bytes of a cold message.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("our own messages always encode")
    }

    /// Reads what the page wrote; both ends are the same build.
    pub fn decode(bytes: &[u8]) -> Option<ToWorker> {
        postcard::from_bytes(bytes).ok()
    }
}

impl ToPage {
    /// The bytes of a cold message.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("our own messages always encode")
    }

    /// Reads what the worker wrote; both ends are the same build.
    pub fn decode(bytes: &[u8]) -> Option<ToPage> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The folder of a stream on this browser's disk: 16 bytes of its id name it. What was shared from here has another one than what was
/// fetched: a person may watch what they share.
pub fn folder_name(swarm: &SwarmId, shared: bool) -> String {
    let mut name = String::from(if shared { "share-" } else { "" });
    for byte in &swarm.0[..16] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
