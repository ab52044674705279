//! Reads a file of a download in order while it is still coming.

use crate::library::Library;
use crate::session::Control;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::UnboundedSender;

/// One reader's place; what it waits for is fetched first.
pub struct Reader {
    id: u64,
    library: Arc<Library>,
    control: UnboundedSender<Control>,
    entry: usize,
    at: u64,
    end: u64,
    /// Where the session was last told we are.
    told: Option<u64>,
}

impl Reader {
    /// Reads `at..end` of a file of the manifest.
    pub fn new(
        library: Arc<Library>,
        control: UnboundedSender<Control>,
        entry: usize,
        at: u64,
        end: u64,
    ) -> Reader {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Reader {
            id,
            library,
            control,
            entry,
            at,
            end,
            told: None,
        }
    }

    /// The next bytes, as soon as they are here; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut changes = self.library.changes();
        loop {
            changes.borrow_and_update();
            if let Some(bytes) = self.ready().await? {
                return Ok(Some(bytes));
            }
            if self
                .told
                .is_none_or(|told| self.at.abs_diff(told) >= TELL_BYTES)
                || self.told > Some(self.at)
            {
                self.tell();
            }
            if changes.changed().await.is_err() {
                return Err(io::Error::other("the session has ended"));
            }
        }
    }

    fn tell(&mut self) {
        self.told = Some(self.at);
        // A session that has ended is noticed by the wait.
        let _ = self.control.send(Control::Read {
            reader: self.id,
            entry: self.entry,
            at: self.at,
        });
    }

    /// What is here from `at` on, up to [`READ_BYTES`].
    async fn ready(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(manifest) = self.library.manifest() else {
            return Ok(None);
        };
        let Some(entry) = manifest.entries.get(self.entry) else {
            return Err(io::Error::other("no such file in the manifest"));
        };
        let end = self.end.min(self.at + READ_BYTES);
        let missing = self.library.missing(entry, self.at..end);
        let until = missing
            .first()
            .and_then(|(piece, mask)| entry.block_offset(*piece, mask.first()?));
        let until = until.unwrap_or(end).min(end);
        if until <= self.at {
            return Ok(None);
        }
        if self
            .told
            .is_some_and(|told| self.at.abs_diff(told) >= TELL_BYTES)
        {
            self.tell();
        }
        let (library, entry, at) = (self.library.clone(), self.entry, self.at);
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; (until - at) as usize];
            library.read(entry, at, &mut bytes).map(|()| bytes)
        });
        let bytes = reading.await.map_err(io::Error::other)??;
        self.at = until;
        Ok(Some(bytes))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.control.send(Control::ReadNoMore { reader: self.id });
    }
}

/// Bytes given at once.
const READ_BYTES: u64 = 256 * 1024;
/// How far a reader goes before the session is told again: a sixteenth of the read-ahead.
const TELL_BYTES: u64 = 1 << 20;
