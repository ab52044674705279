//! The room that all streams of a keeper share. When it is nearly full, the stream that was served longest ago makes room for the
//! others; a stream that would have to make room for itself takes no more.

use crate::keeper::Keeper;
use crate::worker::Worker;
use baton_content::{Lane, MANIFEST_LANE, PIECE_LEN, SwarmId};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The rooms, and how much they may have together.
pub struct Space {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: BTreeMap<SwarmId, Room>,
    /// Folders of streams that nobody names any more, with their bytes: they go first.
    strays: Vec<(PathBuf, u64)>,
    /// Bytes of folders that are nobody's to drop.
    spared: u64,
}

struct Room {
    kept: Kept,
    /// Of its data, what it was told to drop and has not dropped yet.
    dropping: u64,
    /// Grows: when somebody was served last, about Unix seconds.
    served: u64,
    worker: Worker,
    /// It was refused, and fetches nothing more until it is told that there is room.
    refused: bool,
    /// The disk refused it, and it waits for so many looks at the disk more.
    disk_full: Option<u32>,
    /// For how many looks it waits the next time.
    disk_pause: u32,
}

impl Room {
    fn bytes(&self) -> u64 {
        self.kept.manifest + self.kept.data + self.kept.log
    }

    fn resume(&mut self) {
        self.refused = false;
        self.disk_full = None;
        self.worker.own(Keeper::resume);
    }
}

/// What a stream keeps, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub manifest: u64,
    /// What may be dropped.
    pub data: u64,
    /// The log that says what is there.
    pub log: u64,
}

impl Kept {
    pub fn of(&mut self, lane: Lane) -> &mut u64 {
        if lane == MANIFEST_LANE {
            &mut self.manifest
        } else {
            &mut self.data
        }
    }
}

/// Whether there is room for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    /// Not yet: another stream is still dropping what it must.
    Later,
    /// Only if the stream dropped something of its own.
    No,
}

impl State {
    fn used(&self) -> u64 {
        let rooms = self.rooms.values();
        rooms.map(Room::bytes).sum::<u64>()
            + self.strays.iter().map(|(_, bytes)| bytes).sum::<u64>()
            + self.spared
    }

    fn dropping(&self) -> u64 {
        self.rooms.values().map(|room| room.dropping).sum()
    }

    /// Tells the stream that was served longest ago, and still has something, to drop so much. Which one it was.
    fn make_room(&mut self, bytes: u64, but: Option<SwarmId>) -> Option<SwarmId> {
        let (swarm, room) = self
            .rooms
            .iter_mut()
            .filter(|(_, room)| room.kept.data > room.dropping)
            .min_by_key(|(_, room)| room.served)?;
        if Some(*swarm) != but {
            // It drops whole pieces: what is asked for less at a time would come to more in the end.
            let drop = bytes
                .max(PIECE_LEN as u64)
                .min(room.kept.data - room.dropping);
            room.dropping += drop;
            room.worker
                .own(move |keeper: &mut Keeper| keeper.evict(drop));
        }
        Some(*swarm)
    }
}

impl Space {
    pub fn new(limit: u64) -> Space {
        Space {
            limit,
            state: Mutex::default(),
        }
    }

    /// Bytes kept in all.
    pub fn used(&self) -> u64 {
        self.with(|state| state.used())
    }

    /// Counts what lies in folders of streams that are not named any more. Where somebody meant more than could be read, one of them may be
    /// meant: they are spared then.
    pub fn count_strays(&self, folder: &Path, named: &[SwarmId], spare: bool) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let named: Vec<String> = named.iter().map(SwarmId::to_string).collect();
        let strays = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let is_stray = !named.contains(&name) && path.join("index").is_file();
            is_stray.then(|| (bytes_in(&path), path))
        });
        let strays: Vec<_> = strays.map(|(bytes, path)| (path, bytes)).collect();
        self.with(|state| match spare {
            true => state.spared = strays.iter().map(|(_, bytes)| bytes).sum(),
            false => state.strays = strays,
        });
        self.trim();
    }

    /// A stream with what it has already. `served`: when that was last so, Unix seconds; a new one counts as served just now.
    pub fn enter(&self, swarm: SwarmId, kept: Kept, served: Option<u64>, worker: Worker) {
        self.with(|state| {
            let latest = state.rooms.values().map(|room| room.served).max();
            let newest = crate::unix_s().max(latest.unwrap_or(0) + 1);
            let room = Room {
                kept,
                dropping: 0,
                served: served.unwrap_or(newest),
                worker,
                refused: false,
                disk_full: None,
                disk_pause: 1,
            };
            state.rooms.insert(swarm, room);
        });
        self.trim();
    }

    /// A stream that is over, with all that it had: there is room for those who were refused.
    pub fn leave(&self, swarm: SwarmId) {
        self.with(|state| {
            state.rooms.remove(&swarm);
            for room in state.rooms.values_mut().filter(|room| room.refused) {
                room.resume();
            }
        });
    }

    /// Notes that a stream was served just now, and when that is.
    pub fn served(&self, swarm: SwarmId) -> u64 {
        self.with(|state| {
            let others = state.rooms.iter().filter(|(other, _)| **other != swarm);
            let latest = others.map(|(_, room)| room.served).max().unwrap_or(0);
            let now = crate::unix_s().max(latest + 1);
            if let Some(room) = state.rooms.get_mut(&swarm) {
                room.served = now;
            }
            now
        })
    }

    /// The disk takes nothing more of this stream: it waits, longer each time, until there is room again.
    pub fn disk_is_full(&self, swarm: SwarmId) {
        self.with(|state| {
            if let Some(room) = state.rooms.get_mut(&swarm)
                && room.disk_full.is_none()
            {
                room.disk_full = Some(room.disk_pause);
                room.disk_pause = (room.disk_pause * 2).min(DISK_PAUSE_MAX);
            }
        });
    }

    /// The disk takes something again.
    pub fn disk_is_well(&self, swarm: SwarmId) {
        self.with(|state| {
            if let Some(room) = state.rooms.get_mut(&swarm) {
                room.disk_pause = 1;
            }
        });
    }

    /// A look at the disk, which has so many bytes free, every few seconds: those whom it refused try again once that makes sense.
    pub fn look_again(&self, free: u64) {
        let margin = self.margin();
        self.with(|state| {
            for room in state.rooms.values_mut() {
                match &mut room.disk_full {
                    Some(looks) if *looks > 1 => *looks -= 1,
                    Some(_) if free >= margin => room.resume(),
                    _ => {}
                }
            }
        });
    }

    /// Takes room for a block.
    pub fn take(&self, swarm: SwarmId, lane: Lane, bytes: u64) -> Answer {
        let most = match lane {
            MANIFEST_LANE => self.limit,
            _ => self.for_data(),
        };
        let strays = self.with(|state| {
            let full = state.used() + bytes > most;
            if full {
                std::mem::take(&mut state.strays)
            } else {
                Vec::new()
            }
        });
        for (folder, _) in strays {
            // What cannot be removed is counted again at the next start.
            let _ = std::fs::remove_dir_all(folder);
        }
        self.with(|state| {
            let used = state.used() + bytes;
            let left = used.saturating_sub(state.dropping());
            let over = left.saturating_sub(self.limit - self.margin());
            let mut itself = false;
            if over > 0 {
                itself = state.make_room(over, Some(swarm)) == Some(swarm);
            }
            let waits = state.dropping() > 0;
            let Some(room) = state.rooms.get_mut(&swarm) else {
                return Answer::No;
            };
            if used <= most {
                *room.kept.of(lane) += bytes;
                Answer::Yes
            } else if waits && !itself {
                Answer::Later
            } else {
                room.refused = true;
                Answer::No
            }
        })
    }

    /// What data may fill: manifests come when they come, the last one after the film.
    fn for_data(&self) -> u64 {
        self.limit - (self.limit / MANIFEST_SHARE).min(MANIFEST_MAX)
    }

    fn margin(&self) -> u64 {
        (self.limit / MARGIN_SHARE).min(MARGIN_MAX)
    }

    /// What is lacking for so many bytes more.
    pub fn lacking(&self, bytes: u64) -> u64 {
        self.used().saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Notes what a stream has now; of what it was told to drop, so much is done.
    pub fn note(&self, swarm: SwarmId, kept: Kept, dropped: u64) {
        self.with(|state| {
            if let Some(room) = state.rooms.get_mut(&swarm) {
                room.kept = kept;
                // What a bad disk lost meanwhile need not be dropped.
                room.dropping = room.dropping.saturating_sub(dropped).min(kept.data);
            }
        });
    }

    /// A limit that is lower than last time.
    fn trim(&self) {
        self.with(|state| {
            loop {
                let left = state.used().saturating_sub(state.dropping());
                let over = left.saturating_sub(self.limit);
                if over == 0 || !state.strays.is_empty() || state.make_room(over, None).is_none() {
                    return;
                }
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bytes that the files of a folder take on the disk.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok());
    sizes.map(|metadata| metadata.blocks() * 512).sum()
}

/// Bytes that this user may still write to the file system of a folder; all there are where it does not say.
pub fn free_bytes(folder: &Path) -> u64 {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else {
        return u64::MAX;
    };
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: both pointers are good for the call, and what it says it filled in is read only after it said so.
    unsafe {
        match libc::statvfs(path.as_ptr(), found.as_mut_ptr()) {
            0 => {
                let found = found.assume_init();
                found.f_bavail.saturating_mul(found.f_frsize)
            }
            _ => u64::MAX,
        }
    }
}

/// Looks at a disk that refused a stream time and again, between two tries: five minutes.
const DISK_PAUSE_MAX: u32 = 64;
/// Room is made before the last of it is taken: a sixteenth, and no more than 64 MiB.
const MARGIN_SHARE: u64 = 16;
/// See `MARGIN_SHARE`.
const MARGIN_MAX: u64 = 64 << 20;
/// Kept free for manifests that come later: a sixty-fourth, and no more than 1 MiB, which is one of the largest.
const MANIFEST_SHARE: u64 = 64;
/// See `MANIFEST_SHARE`.
const MANIFEST_MAX: u64 = 1 << 20;
