//! What a download has: shared between the thread that writes it and whoever reads along.

use crate::output::Files;
use baton_content::{Entry, Manifest, Mask, PieceId};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
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

    pub(crate) fn file(&self, entry: usize) -> Option<Arc<File>> {
        let files = self.state().files.clone()?;
        files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .file(entry)
            .ok()
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
