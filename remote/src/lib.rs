//! A television and the telephones that command it, sans IO: no clock, no socket, no JavaScript, nor randomness of its own.
//!
//! - [`code`]: the six characters on the television's screen. The server knows the first three, and never the others.
//! - [`secret`]: from code or QR code to a key that both ends share (SPAKE2, X25519), and from that to a session.
//! - [`words`]: what the two say to each other, sealed: commands one way, the truth the other way.
//! - [`line`]: one socket to the signalling server, as far as this crate needs one.
//! - [`Tv`] and [`Phone`]: the two ends. News goes in by methods, [`Output`]s come out by `poll`.
//!
//! The bytes are normative in docs/remote.md. Nothing here is seen by the server but what docs/signalling.md says.

mod chance;
pub mod code;
pub mod line;
pub mod phone;
pub mod secret;
pub mod tv;
pub mod words;

pub use chance::Chance;
pub use code::Code;
pub use phone::{Known, Phone};
pub use tv::Tv;
pub use words::{Command, Film, Report, State, Track};

use serde::Serialize;

/// What an end wants done. Sockets are named by a number of the end's own: a television has two, a telephone one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Output {
    /// Open a socket to the server's `/ws`; what was open under this number is closed first.
    Dial {
        line: u8,
    },
    Hangup {
        line: u8,
    },
    Send {
        line: u8,
        #[serde(serialize_with = "as_bytes")]
        bytes: Vec<u8>,
    },
    /// Television: show this code and this QR token until that time.
    Code {
        text: String,
        token: String,
        until_ms: f64,
    },
    /// Television: there is no code to show, and why.
    NoCode {
        why: NoCode,
    },
    /// Television: keep these bytes (who it is, and which telephones it knows).
    Save {
        #[serde(serialize_with = "as_bytes")]
        bytes: Vec<u8>,
    },
    /// Television: the telephones that it knows.
    Phones {
        list: Vec<PhoneSeen>,
    },
    /// Television: do this, says the telephone of this id.
    Command {
        phone: String,
        command: Command,
    },
    /// Telephone: this television is ours from now on; keep the bytes.
    Paired {
        #[serde(serialize_with = "as_bytes")]
        bytes: Vec<u8>,
        name: String,
    },
    /// Telephone: pairing came to nothing.
    Failed {
        why: Failure,
    },
    /// Telephone: whether the television hears us.
    Linked {
        yes: bool,
    },
    /// Telephone: how things stand over there.
    Report {
        report: Report,
    },
}

/// A telephone that a television knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhoneSeen {
    pub id: String,
    pub label: String,
    pub here: bool,
}

/// Why a television has no code to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoCode {
    /// Somebody tried three times and was wrong: a person must ask for a new code.
    Tries,
    /// The server names no more codes at the moment.
    Busy,
    /// The server does not answer.
    Lost,
}

/// Why a telephone was not paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No television shows this code, or not any more.
    Nobody,
    /// The code is another one.
    Wrong,
    /// Too many codes were tried from this address: wait.
    TooMany,
    /// The server or the television does not answer.
    Lost,
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}
