//! `baton seed --watch`: each file of a folder has its own link; new ones are shared as they appear, and feeds are written.

use super::{TurnedAway, fatal, net, seed, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::feed::{self, Item};
use crate::keyfile::{FileMark, KeyFile};
use crate::look::mime;
use crate::peer::{self, Net, Published};
use crate::publisher::Source;
use crate::show::Show;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::error::TryRecvError;

pub async fn run(args: args::Seed, show: &mut Show) -> Result<(), Exit> {
    let [folder] = args.files.as_slice() else {
        return Err(Exit::new(exit::USAGE, "--watch takes one folder"));
    };
    if !folder.is_dir() {
        return Err(Exit::new(exit::USAGE, "--watch takes a folder"));
    }
    let feeds = args.feed.clone().unwrap_or_else(|| folder.clone());
    let net = net(&args.net);
    let home = net.servers.first().cloned().unwrap_or_default();
    let title = folder
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let title = title.unwrap_or_else(|| "Baton".into());
    let mut shared: BTreeMap<PathBuf, Shared> = BTreeMap::new();
    let end = stopped();
    tokio::pin!(end);
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = tick.tick() => {}
        }
        if look(folder, &args, &net, &mut shared, show) {
            let items: Vec<Item> = shared
                .values()
                .filter_map(|shared| shared.item.clone())
                .collect();
            feed::write(&feeds, &title, &home, &items).map_err(|error| {
                Exit::new(exit::FILE, format!("cannot write the feeds: {error}"))
            })?;
            show.note(
                &format!("{} films in the feeds", items.len()),
                &json!({"event": "feeds", "items": items.len()}),
            );
        }
    }
    let leaving = shared
        .into_values()
        .filter_map(|shared| Some(shared.published?.session.leave()));
    futures_util::future::join_all(leaving).await;
    Ok(())
}

/// Size and time of a file.
type Seen = (u64, Option<SystemTime>);

fn look_at(path: &Path) -> Option<Seen> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

/// A file of the folder: one that still grows is not shared yet.
struct Shared {
    seen: Option<Seen>,
    /// It could not be shared as it is: tried again when it changes.
    failed: bool,
    /// Since when it does not grow although somebody has it open for writing.
    written_since: Option<Instant>,
    published: Option<Published>,
    item: Option<Item>,
    turned_away: TurnedAway,
}

impl Shared {
    fn new(seen: Option<Seen>) -> Shared {
        Shared {
            seen,
            failed: false,
            written_since: None,
            published: None,
            item: None,
            turned_away: TurnedAway::default(),
        }
    }
}

impl Shared {
    /// Whether it is waited for whoever has it open for writing: not for ever, since some programs never close what is done.
    fn waits_on(&mut self, is_being_written: bool, name: &str, show: &Show) -> bool {
        if !is_being_written {
            self.written_since = None;
            return false;
        }
        let since = *self.written_since.get_or_insert_with(|| {
            show.note(
                &format!("{name}: it does not grow, but somebody has it open for writing; waiting"),
                &json!({"event": "waiting", "file": name, "reason": "somebody has it open for writing"}),
            );
            Instant::now()
        });
        since.elapsed() < WRITER_PATIENCE
    }
}

/// Shares what is new and forgets what is gone; true when the feeds must be written.
fn look(
    folder: &Path,
    args: &args::Seed,
    net: &Net,
    shared: &mut BTreeMap<PathBuf, Shared>,
    show: &Show,
) -> bool {
    let mut changed = false;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let mut seen = Vec::new();
    for entry in entries.flatten() {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let is_film = metadata.is_file()
            && mime(&name).is_some_and(|m| m.starts_with("video/") || m.starts_with("audio/"));
        if !is_film || name.starts_with('.') {
            continue;
        }
        seen.push(path.clone());
        let now = look_at(&path);
        let is_shared = |known: &Shared| known.published.is_some() && known.seen != now;
        if shared.get(&path).is_some_and(is_shared) {
            // Nobody can get by the old link what is there now: it is shared by another one once it has settled.
            changed |= end(shared, &path);
            show.note(
                &format!("{name}: it changed, its link is dead"),
                &json!({"event": "problem", "file": name, "reason": "it changed"}),
            );
        }
        let known = shared.entry(path.clone()).or_insert(Shared::new(None));
        let same = known.seen == now;
        // A copy that only paused is not whole.
        let waits = same && known.published.is_none() && !known.failed && is_being_written(&path);
        let settled = same && !known.waits_on(waits, &name, show);
        known.seen = now;
        known.failed &= settled;
        if known.published.is_some() || known.failed || !settled || metadata.len() == 0 {
            continue;
        }
        let expires = args
            .expires
            .map_or(0, |after| crate::unix_s() + after.as_secs());
        let key = args
            .key
            .as_ref()
            .map(|keys| key_for(keys, &name, &metadata));
        if let Some(keys) = &args.key {
            // What is wrong with it shows when the key is written.
            let _ = std::fs::create_dir_all(keys);
        }
        match peer::publish(
            &[Source {
                name: name.clone(),
                path,
            }],
            None,
            key,
            expires,
            net,
        ) {
            Ok(published) => {
                seed::announce(&published, args.ticket, false, show);
                let added = metadata
                    .modified()
                    .ok()
                    .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
                known.item = Some(Item {
                    title: published.title.clone(),
                    link: published.url.clone(),
                    size: published.size,
                    mime: mime(&name).unwrap_or("application/octet-stream").into(),
                    published_unix_s: added.map_or(0, |since| since.as_secs()),
                });
                known.published = Some(published);
                changed = true;
            }
            Err(exit) => {
                known.failed = true;
                show.note(
                    &format!("{name}: {exit}"),
                    &json!({"event": "problem", "file": name, "reason": exit.reason}),
                );
            }
        }
    }
    let gone: Vec<PathBuf> = shared
        .keys()
        .filter(|path| !seen.contains(path))
        .cloned()
        .collect();
    for path in gone {
        changed |= end(shared, &path);
    }
    for (name, exit) in broken(shared) {
        show.note(
            &format!("{}: {exit}", name.display()),
            &json!({"event": "problem", "file": name, "reason": exit.reason}),
        );
        changed |= end(shared, &name);
        // A file that changed is shared by a new link if it settles; a server that does not want us would not want it then either.
        if exit.code != exit::FILE {
            let failed = Shared {
                failed: true,
                ..Shared::new(look_at(&name))
            };
            shared.insert(name, failed);
        }
    }
    for (path, shared) in shared.iter_mut() {
        if let Some(published) = &shared.published {
            let now = published.session.snapshot.borrow();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            shared.turned_away.tell(&now, &name, show);
        }
    }
    changed
}

/// The key that a file had before, or a new one. A key goes with its file: a film that changed takes another one, and has its old link again if
/// it is what it was.
fn key_for(keys: &Path, name: &str, metadata: &Metadata) -> PathBuf {
    let mark = FileMark::new(name, metadata);
    let fits = |path: &PathBuf| match KeyFile::read(path) {
        Ok(Some(key)) => matches!(&key.files[..], [file] if file.same(&mark)),
        // One that cannot be read is told when it is used.
        Ok(None) | Err(_) => true,
    };
    let first = keys.join(format!("{name}.key"));
    let more = (2..=KEYS_MAX).map(|number| keys.join(format!("{name}.{number}.key")));
    let mut all = std::iter::once(first.clone()).chain(more);
    all.find(fits).unwrap_or(first)
}

/// Those whose sessions cannot go on.
fn broken(shared: &mut BTreeMap<PathBuf, Shared>) -> Vec<(PathBuf, Exit)> {
    let mut broken = Vec::new();
    for (path, shared) in shared {
        let Some(published) = &mut shared.published else {
            continue;
        };
        let why = loop {
            match published.session.news.try_recv() {
                Ok(news) => {
                    if let Some(exit) = fatal(&news) {
                        break Some(exit);
                    }
                }
                Err(TryRecvError::Empty) => break None,
                Err(TryRecvError::Disconnected) => {
                    break Some(Exit::new(exit::OTHER, "the session ended"));
                }
            }
        };
        broken.extend(why.map(|exit| (path.clone(), exit)));
    }
    broken
}

fn end(shared: &mut BTreeMap<PathBuf, Shared>, path: &Path) -> bool {
    let published = shared.remove(path).and_then(|shared| shared.published);
    published
        .map(|published| tokio::spawn(published.session.leave()))
        .is_some()
}

/// Whether a process of this machine has a file open for writing, as far as that can be told: of one's own files, on file systems of this machine.
fn is_being_written(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    // A lease for readers is given only where nobody has it open for writing; it goes with the file at the end of this function (fcntl(2)).
    // Whoever opens it for writing meanwhile waits for that end, and we are told by a signal: one that ends no process.
    let fd = file.as_raw_fd();
    if is_elsewhere(fd) {
        return false;
    }
    // SAFETY: the descriptor is open, and no memory is passed.
    let leased = unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0
    };
    !leased && std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

/// Whether it is on a network's drive, where the same refusal says that the server gave this machine no lease to pass on.
fn is_elsewhere(fd: RawFd) -> bool {
    // SAFETY: plain numbers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and what is written is as large as the system says.
    let told = unsafe { libc::fstatfs(fd, &mut found) } == 0;
    // The low half: some machines sign-extend it.
    !told || NETWORK_DRIVES.contains(&(found.f_type as u32))
}

/// NFS, SMB 1 (two kinds) and SMB 2 and 3 (statfs(2)).
const NETWORK_DRIVES: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// How often the folder is looked at: a file that did not change between two looks, and that nobody has open for writing, is whole.
const LOOK: Duration = Duration::from_secs(2);
/// Of fcntl(2), on every Linux; the crate `libc` lacks it.
const F_SETSIG: libc::c_int = 10;
/// How long a file that does not change is waited for because somebody has it open for writing.
const WRITER_PATIENCE: Duration = Duration::from_secs(600);
/// Keys of one name: films that changed so often.
const KEYS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_being_written_for_as_long_as_somebody_has_it_open_for_that() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("film.mp4");
        let copying = File::create(&path).expect("it is ours");
        assert!(is_being_written(&path));
        drop(copying);
        let reading = File::open(&path).expect("it is ours");
        assert!(!is_being_written(&path));
        drop(reading);
        assert!(!is_being_written(&dir.path().join("none")));
        // A lease that was left behind would make whoever opens it wait.
        File::create(&path).expect("it is ours");
    }
}
