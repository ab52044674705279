//! Where the plain bytes of a download lie: one preallocated file, a folder of them, or a file without a name.
//!
//! Until everything is here and verified the file (or folder) is called `NAME.ID.part`, so nobody mistakes half a film for one,
//! and two links of one title do not write into each other's.

use crate::handles::Handles;
use baton_content::path::clean_path;
use baton_content::{Entry, Kind, Manifest, SwarmId};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where to put a download.
#[derive(Clone, Debug)]
pub enum Target {
    At(Place),
    /// A temporary file that is gone when the process is.
    Nameless,
    /// Nothing but the manifest is wanted.
    Nowhere,
}

/// A file or folder to be, or a folder to put it into under its own name.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    /// `path` is a folder to put it into.
    into: bool,
    /// Tells the half files of different streams apart.
    id: String,
    /// The log says that blocks are here: a finished download of the right sizes is ours, and is seeded from.
    pub again: bool,
}

impl Place {
    pub fn new(path: &Path, swarm: &SwarmId) -> Place {
        let id: String = swarm.to_string().chars().take(12).collect();
        let mut place = Place {
            path: path.into(),
            into: false,
            id,
            again: false,
        };
        // A finished folder of an earlier run is no folder to put it into. What has no name of its own, as `.`, is always one.
        let earlier = place.beside().is_some_and(|index| index.exists());
        place.into = path.is_dir() && !earlier;
        place
    }

    /// The log beside a download, which lets it go on after a crash: one per output and stream.
    pub fn index_path(&self) -> PathBuf {
        match self.beside() {
            Some(index) if !self.into => index,
            _ => self.path.join(format!(".baton-{}.index", self.id)),
        }
    }

    fn beside(&self) -> Option<PathBuf> {
        let name = self.path.file_name()?.to_string_lossy();
        Some(
            self.path
                .with_file_name(format!(".{name}-{}.index", self.id)),
        )
    }

    /// The name of the finished download.
    fn end(&self, manifest: &Manifest) -> PathBuf {
        if self.into {
            self.path.join(file_name(manifest))
        } else {
            self.path.clone()
        }
    }

    fn part(&self, end: &Path) -> PathBuf {
        let mut name = end.as_os_str().to_owned();
        name.push(format!(".{}.part", self.id));
        name.into()
    }
}

/// The files of one download.
pub struct Files {
    /// `NAME.ID.part`, and `NAME` once it is done; `None` for a nameless one.
    names: Option<(PathBuf, PathBuf)>,
    folder: bool,
    entries: Vec<Entry>,
    /// Where each entry lies in the folder.
    places: Vec<String>,
    handles: Handles,
    /// All entries one after the other, and where each begins.
    nameless: Option<(Arc<File>, Vec<u64>)>,
}

impl Files {
    /// Chooses names and makes the files at their full sizes; those that are there are kept. Also which ones were not there.
    ///
    /// `None` where nothing is to be kept.
    pub fn create(
        target: &Target,
        manifest: &Manifest,
    ) -> io::Result<Option<(Files, BTreeSet<usize>)>> {
        let mut files = Files {
            names: None,
            folder: manifest.kind == Kind::Collection,
            entries: manifest.entries.clone(),
            places: manifest.places(),
            handles: Handles::default(),
            nameless: None,
        };
        match target {
            Target::Nowhere => return Ok(None),
            Target::Nameless => {
                files.nameless = Some(files.make_nameless()?);
                return Ok(Some((files, (0..manifest.entries.len()).collect())));
            }
            Target::At(place) => {
                let end = place.end(manifest);
                let part = place.part(&end);
                files.names = Some((end.clone(), end.clone()));
                // With a half file beside it, what has the name is somebody else's.
                let is_ours = place.again && !part.exists() && files.has_its_sizes();
                if !end.exists() {
                    files.names = Some((part, end));
                } else if !is_ours {
                    return Err(there_already(&end));
                }
            }
        }
        let mut made = BTreeSet::new();
        for entry in 0..files.entries.len() {
            if !files.path(entry).is_some_and(|path| path.exists()) {
                made.insert(entry);
            }
            files.file(entry)?;
        }
        Ok(Some((files, made)))
    }

    /// A handle to an entry's file, for reading beside the writer, and where in it the entry begins.
    pub fn file(&mut self, entry: usize) -> io::Result<(Arc<File>, u64)> {
        if let Some((file, starts)) = &self.nameless {
            return Ok((file.clone(), starts.get(entry).copied().unwrap_or(0)));
        }
        let size = self.entries.get(entry).map_or(0, |e| e.size);
        let path = self
            .path(entry)
            .ok_or_else(|| io::Error::other("no such file in the manifest"))?;
        Ok((self.handles.get(entry, || make(&path, size))?, 0))
    }

    pub fn write(&mut self, entry: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (file, start) = self.file(entry)?;
        file.write_all_at(bytes, start + offset)
    }

    pub fn read(&mut self, entry: usize, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let (file, start) = self.file(entry)?;
        file.read_exact_at(bytes, start + offset)
    }

    /// Everything is here: gives the files their names, unless somebody took them meanwhile. Handles stay good.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some((part, end)) = &self.names
            && part != end
        {
            rename_new(part, end)?;
            self.names = Some((end.clone(), end.clone()));
        }
        Ok(())
    }

    /// Whether all that is there of it is as long as it is to be.
    fn has_its_sizes(&self) -> bool {
        let mut entries = self.entries.iter().enumerate();
        entries.all(|(at, entry)| {
            let there = self.path(at).and_then(|path| path.metadata().ok());
            there.is_none_or(|it| it.is_file() && it.len() == entry.size)
        })
    }

    /// The name that it has or will have.
    pub fn end(&self) -> Option<&Path> {
        self.names.as_ref().map(|(_, end)| end.as_path())
    }

    fn path(&self, entry: usize) -> Option<PathBuf> {
        let (part, _) = self.names.as_ref()?;
        Some(if self.folder {
            part.join(self.places.get(entry)?)
        } else {
            part.clone()
        })
    }

    fn make_nameless(&self) -> io::Result<(Arc<File>, Vec<u64>)> {
        let file = nameless()?;
        let mut starts = Vec::with_capacity(self.entries.len());
        let mut end = 0u64;
        for entry in &self.entries {
            starts.push(end);
            end = end.saturating_add(entry.size);
        }
        // Sparse: a player that leaves early needs no more room than what it saw.
        file.set_len(end)?;
        Ok((Arc::new(file), starts))
    }
}

/// Opens a file to write into, or makes it at its full size, with its room taken at once where the file system can do so.
fn make(path: &Path, size: u64) -> io::Result<File> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(told)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(told)?;
    if file.metadata().map_err(told)?.len() != size {
        // Room first: a file of its full length is taken for one that has it.
        allocate(&file, size).map_err(told)?;
        file.set_len(size).map_err(told)?;
    }
    Ok(file)
}

/// A disk that is too small says so now, not after an hour. A file system that cannot tell leaves the file sparse.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    let Some(len) = libc::off_t::try_from(size).ok().filter(|len| *len > 0) else {
        return Ok(());
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Err(error),
        _ => Ok(()),
    }
}

/// Renames to a name that nobody has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (Ok(old), Ok(new)) = (
        CString::new(from.as_os_str().as_bytes()),
        CString::new(to.as_os_str().as_bytes()),
    ) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
    // SAFETY: both are strings that end in a zero byte and outlive the call.
    if unsafe { libc::renameat2(here, old.as_ptr(), here, new.as_ptr(), flags) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EEXIST) => Err(there_already(to)),
        // A file system (or kernel) that does not know the flag.
        Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP) if !to.exists() => {
            std::fs::rename(from, to)
        }
        _ => Err(error),
    }
}

fn there_already(path: &Path) -> io::Error {
    let text = format!("{} is there already", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}

fn file_name(manifest: &Manifest) -> String {
    let name = match manifest.kind {
        Kind::Collection => manifest.title.as_str(),
        _ => manifest.entries.first().map_or("", |entry| {
            entry.path.rsplit('/').next().unwrap_or_default()
        }),
    };
    // A title is no path: it may name no other folder, and hide nothing.
    let name = name.replace(['/', '\\'], "_");
    match name.trim_start_matches('.') {
        "" => "baton".into(),
        visible => clean_path(visible),
    }
}

/// A file that only its handle names, on a disk rather than in memory: /tmp often is a tmpfs.
fn nameless() -> io::Result<File> {
    let id = crate::random::<8>()
        .iter()
        .fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
    let chosen = std::env::var_os("TMPDIR").map(PathBuf::from);
    let folders = chosen
        .into_iter()
        .chain([PathBuf::from("/var/tmp"), std::env::temp_dir()]);
    let mut fault = io::Error::from(io::ErrorKind::NotFound);
    for folder in folders {
        let path = folder.join(format!("baton-{id}"));
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        match opened {
            Ok(file) => {
                std::fs::remove_file(path)?;
                return Ok(file);
            }
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Manifest {
        Manifest::file(Entry::new(name, 100_000))
    }

    fn at(path: &Path, swarm: u8, again: bool) -> Target {
        let mut place = Place::new(path, &SwarmId([swarm; 32]));
        place.again = again;
        Target::At(place)
    }

    fn created(target: &Target, manifest: &Manifest) -> io::Result<Files> {
        Ok(Files::create(target, manifest)?.expect("it is kept").0)
    }

    #[test]
    fn two_links_of_one_name_have_half_files_of_their_own_and_the_later_overwrites_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut first = created(&at(dir.path(), 1, false), &file("film.mp4")).expect("a file");
        let mut second = created(&at(dir.path(), 2, false), &file("film.mp4")).expect("another");
        first.write(0, 0, b"first").expect("it is ours");
        second.write(0, 0, b"later").expect("it is ours");
        first.finish().expect("the name is free");
        let refused = second.finish().expect_err("the name is taken");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        let film = std::fs::read(dir.path().join("film.mp4")).expect("the film");
        assert!(film.starts_with(b"first"));
        assert!(created(&at(dir.path(), 3, false), &file("film.mp4")).is_err());
        assert!(
            created(&at(dir.path(), 1, true), &file("film.mp4")).is_ok(),
            "to seed from"
        );
        assert!(
            created(&at(dir.path(), 2, true), &file("film.mp4")).is_err(),
            "its own is the half file"
        );
        std::fs::write(dir.path().join("film.mp4"), b"mine").expect("a file");
        assert!(created(&at(dir.path(), 1, true), &file("film.mp4")).is_err());
        let film = std::fs::read(dir.path().join("film.mp4")).expect("the film");
        assert_eq!(film, b"mine");
    }

    #[test]
    fn what_has_no_name_is_a_folder_to_put_it_into_however_often() {
        for path in [".", "..", "/"] {
            let place = Place::new(Path::new(path), &SwarmId([1; 32]));
            assert!(place.into && place.index_path().starts_with(path), "{path}");
        }
    }

    #[test]
    fn a_title_hides_nothing_and_leaves_no_folder() {
        for (title, name) in [(".bashrc", "bashrc"), ("..", "baton"), ("a/../b", "a_.._b")] {
            let mut manifest = file("x");
            (manifest.kind, manifest.title) = (Kind::Collection, title.into());
            assert_eq!(file_name(&manifest), name);
        }
    }

    #[test]
    fn a_thousand_files_without_names_need_one_handle() {
        let mut manifest = file("x");
        manifest.kind = Kind::Collection;
        manifest.entries = (0..1000)
            .map(|n| Entry::new(&format!("{n}"), 1000))
            .collect();
        let mut files = created(&Target::Nameless, &manifest).expect("a file");
        for n in 0..1000u64 {
            files
                .write(n as usize, 10, &n.to_le_bytes())
                .expect("it is ours");
        }
        let mut bytes = [0; 8];
        files.read(999, 10, &mut bytes).expect("it was written");
        assert_eq!(bytes, 999u64.to_le_bytes());
    }
}
