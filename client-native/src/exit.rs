//! How `baton` ends (docs/cli.md): 0 only when what was asked for is done and verified.

/// An exit code with its reason in words.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Exit {
    pub code: u8,
    pub reason: String,
}

/// Something else went wrong.
pub const OTHER: u8 = 1;
/// The link or ticket is none; also what clap says of wrong arguments.
pub const USAGE: u8 = 2;
/// Nobody had it in time.
pub const NOBODY: u8 = 3;
/// The server is away, or refused.
pub const SERVER: u8 = 4;
/// A file cannot be read or written, or changed.
pub const FILE: u8 = 5;
/// What came is not what its publisher signed: fraud, or a hash that does not fit.
pub const WRONG: u8 = 6;
/// The stream has ended or expired.
pub const OVER: u8 = 7;
/// Stopped by Ctrl-C or SIGTERM before it was done.
pub const INTERRUPTED: u8 = 130;

impl Exit {
    pub fn new(code: u8, reason: impl Into<String>) -> Exit {
        Exit {
            code,
            reason: reason.into(),
        }
    }
}
