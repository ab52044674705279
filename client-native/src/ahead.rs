//! Reading ahead for the many: whoever was given a block of a piece asks for the rest of it next, and the kernel's own read-ahead
//! gives up on a file that many read in many places.

use baton_content::PieceId;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// The pieces that were announced to the kernel last.
#[derive(Default)]
pub struct Ahead(VecDeque<PieceId>);

impl Ahead {
    /// Starts to bring a piece's bytes into the page cache, unless that was done a moment ago. Returns at once.
    pub fn read(&mut self, piece: PieceId, file: &File, range: Range<u64>) {
        if self.0.contains(&piece) {
            return;
        }
        if self.0.len() == PIECES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(piece);
        let len = range.end.saturating_sub(range.start);
        if let (Ok(start), Ok(len)) = (
            libc::off_t::try_from(range.start),
            libc::off_t::try_from(len),
        ) {
            // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed. It is a hint: what it
            // cannot do, the read itself does.
            unsafe {
                libc::posix_fadvise(file.as_raw_fd(), start, len, libc::POSIX_FADV_WILLNEED);
            }
        }
    }
}

/// As many pieces as there are peers, about: 64 MiB of page cache.
const PIECES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::DATA_LANE;
    use std::time::{Duration, Instant};

    /// How many pages of the file's first `len` bytes are in memory.
    fn resident(file: &File, len: usize) -> usize {
        // SAFETY: a mapping of our own, nothing of which is read; `pages` has a byte for each of its pages.
        unsafe {
            let fd = file.as_raw_fd();
            let map = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd,
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            let mut pages = vec![0u8; len.div_ceil(4096)];
            let asked = libc::mincore(map, len, pages.as_mut_ptr());
            libc::munmap(map, len);
            assert_eq!(asked, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        }
    }

    #[test]
    fn the_rest_of_a_piece_is_in_memory_before_it_is_asked_for() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("film");
        let len = 1 << 20;
        std::fs::write(&path, vec![7; len]).expect("it is ours");
        let file = File::open(&path).expect("it is there");
        file.sync_all().expect("it is ours");
        // SAFETY: the descriptor is open, and no memory is passed.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        let before = resident(&file, len);
        let mut ahead = Ahead::default();
        ahead.read(PieceId::new(DATA_LANE, 0), &file, 0..len as u64);
        // On a file system in memory all of it is there from the start.
        let deadline = Instant::now() + Duration::from_secs(60);
        while resident(&file, len) < len / 4096 {
            assert!(Instant::now() < deadline, "{before} pages before, and then");
            std::thread::yield_now();
        }
    }
}
