//! What a download has: shared between the thread that writes it and whoever reads along.

use crate::output::Files;
use baton_content::{Entry, Manifest, Mask, PieceId};
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What is here, and news of it.
pub struct Library {
    state: Mutex<State>,
    /// Counts arrivals.
    arrived: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    manifest: Option<Arc<Manifest>>,
    have: BTreeMap<PieceId, Mask>,
    files: Option<Arc<Mutex<Files>>>,
    path: Option<PathBuf>,
    /// What readers wait for, nearest first.
    wanted: Vec<PieceId>,
}

impl Default for Library {
    fn default() -> Self {
        Library {
            state: Mutex::default(),
            arrived: watch::Sender::new(0),
        }
    }
}

impl Library {
    /// The manifest, once it is known.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        self.state().manifest.clone()
    }

    /// Where the download is or will be; `None` for one without a name.
    pub fn path(&self) -> Option<PathBuf> {
        self.state().path.clone()
    }

    /// Counts up whenever something changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// Which blocks of a range of a file are missing.
    pub fn missing(&self, entry: &Entry, range: Range<u64>) -> Vec<(PieceId, Mask)> {
        let state = self.state();
        let missing = |(piece, mask): (PieceId, Mask)| {
            let missing = mask.without(state.have.get(&piece).copied().unwrap_or(Mask::EMPTY));
            (!missing.is_empty()).then_some((piece, missing))
        };
        entry.blocks(range).filter_map(missing).collect()
    }

    /// Reads a file of the download. Blocks: not for an async task.
    pub(crate) fn read(&self, entry: usize, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let files = self.state().files.clone();
        let files = files.ok_or(std::io::ErrorKind::NotFound)?;
        // The lock is held for the look-up only: the writer goes on while this reads.
        let (file, start) = files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .file(entry)?;
        file.read_exact_at(bytes, start + at)
    }

    pub(crate) fn want(&self, pieces: Vec<PieceId>) {
        self.state().wanted = pieces;
    }

    /// The piece that a reader waits for soonest among those that `fits` takes.
    pub(crate) fn first_wanted(&self, fits: impl Fn(PieceId) -> bool) -> Option<PieceId> {
        self.state()
            .wanted
            .iter()
            .copied()
            .find(|piece| fits(*piece))
    }

    pub(crate) fn set_manifest(&self, manifest: Arc<Manifest>, path: Option<PathBuf>) {
        let mut state = self.state();
        state.manifest = Some(manifest);
        state.path = path;
        drop(state);
        self.changed();
    }

    pub(crate) fn set_files(&self, files: Arc<Mutex<Files>>) {
        self.state().files = Some(files);
    }

    pub(crate) fn add(&self, piece: PieceId, mask: Mask) {
        let mut state = self.state();
        let have = state.have.entry(piece).or_insert(Mask::EMPTY);
        *have = have.or(mask);
        drop(state);
        self.changed();
    }

    pub(crate) fn remove(&self, piece: PieceId, mask: Mask) {
        if let Some(have) = self.state().have.get_mut(&piece) {
            *have = have.without(mask);
        }
    }

    fn changed(&self) {
        self.arrived.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one insertion: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
