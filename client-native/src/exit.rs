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

/// The same for people, below `baton --help`; docs/cli.md has more of it.
pub const HELP: &str = "\
Exit codes:
  0    done and verified; what goes on for ever: stopped by you
  1    something else
  2    the link, a ticket or an argument is wrong
  3    nobody who has it is here
  4    no server could be reached, or it refused
  5    a file cannot be read or written, is there already, or changed
  6    what came is not what its publisher signed
  7    the stream has ended or expired
  130  stopped before it was done

Examples:
  baton seed film.mkv --server https://baton.example --key film.key
  baton get 'https://baton.example/#…' --stdout | mpv -
  baton keep tickets.txt --space 200G --dir /srv/baton";

impl Exit {
    pub fn new(code: u8, reason: impl Into<String>) -> Exit {
        Exit {
            code,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_docs_have_every_code() {
        let docs = include_str!("../../docs/cli.md");
        let all = [
            0,
            OTHER,
            USAGE,
            NOBODY,
            SERVER,
            FILE,
            WRONG,
            OVER,
            INTERRUPTED,
        ];
        for code in all {
            assert!(HELP.contains(&format!("\n  {code:<5}")), "{code}");
            assert!(docs.contains(&format!("\n| {code} | ")), "{code}");
        }
    }
}
