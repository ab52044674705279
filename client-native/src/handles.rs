//! Files kept open: the ones used last, and no more than a system gives a process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Open files by their place in a list.
#[derive(Default)]
pub struct Handles {
    open: BTreeMap<usize, (u64, Arc<File>)>,
    uses: u64,
}

impl Handles {
    /// The open file, or the one that `open` makes; whoever was not used for the longest time is closed for it.
    pub fn get(
        &mut self,
        place: usize,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<Arc<File>> {
        self.uses += 1;
        if let Some((used, file)) = self.open.get_mut(&place) {
            *used = self.uses;
            return Ok(file.clone());
        }
        let file = Arc::new(open()?);
        if self.open.len() >= OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(place, _)| *place) {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(place, (self.uses, file.clone()));
        Ok(file)
    }
}

/// Files of one stream kept open; Linux gives a process 1,024 handles, and sockets need some too.
const OPEN_MAX: usize = 128;
