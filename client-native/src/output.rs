//! Where the plain bytes of a download lie: one preallocated file, a folder of them, or a file without a name.
//!
//! Until everything is here and verified the file (or folder) is called `NAME.part`, so nobody mistakes half a film for one.

use baton_content::path::clean_path;
use baton_content::{Entry, Kind, Manifest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where to put a download.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file or folder to be, or a folder to put it into under its own name.
    At(PathBuf),
    /// A temporary file that is gone when the process is.
    Nameless,
}

/// The files of one download.
pub struct Files {
    /// `NAME.part`, and `NAME` once it is done; `None` for a nameless one.
    names: Option<(PathBuf, PathBuf)>,
    folder: bool,
    entries: Vec<Entry>,
    /// Where each entry lies in the folder.
    places: Vec<String>,
    open: BTreeMap<usize, Arc<File>>,
}

impl Files {
    /// Chooses names and makes the files at their full sizes; those that are there are kept.
    pub fn create(target: &Target, manifest: &Manifest) -> io::Result<Files> {
        let folder = manifest.kind == Kind::Collection;
        let names = match target {
            Target::Nameless => None,
            Target::At(path) => {
                let end = place(path, manifest);
                if end.exists() {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        format!("{} is there already", end.display()),
                    ));
                }
                Some((with_suffix(&end, ".part"), end))
            }
        };
        if names.is_none() && manifest.entries.len() > OPEN_MAX {
            return Err(io::Error::other("too many files to be kept without names"));
        }
        let mut files = Files {
            names,
            folder,
            entries: manifest.entries.clone(),
            places: manifest.places(),
            open: BTreeMap::new(),
        };
        for entry in 0..files.entries.len() {
            files.file(entry)?;
        }
        Ok(files)
    }

    /// A handle to an entry's file, for reading beside the writer.
    pub fn file(&mut self, entry: usize) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(&entry) {
            return Ok(file.clone());
        }
        let size = self.entries.get(entry).map_or(0, |e| e.size);
        let file = match self.path(entry) {
            Some(path) => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)?
            }
            None => nameless()?,
        };
        if file.metadata()?.len() != size {
            file.set_len(size)?;
        }
        // Nameless ones live only as handles; of named ones no more are kept open than a system gives a process.
        if self.names.is_some() && self.open.len() >= OPEN_MAX {
            self.open.pop_first();
        }
        let file = Arc::new(file);
        self.open.insert(entry, file.clone());
        Ok(file)
    }

    pub fn write(&mut self, entry: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(entry)?.write_all_at(bytes, offset)
    }

    pub fn read(&mut self, entry: usize, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file(entry)?.read_exact_at(bytes, offset)
    }

    /// Everything is here: gives the files their names. Handles stay good.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some((part, end)) = &self.names
            && part.exists()
        {
            std::fs::rename(part, end)?;
            self.names = Some((end.clone(), end.clone()));
        }
        Ok(())
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
}

/// The name of the finished download.
pub fn place(path: &Path, manifest: &Manifest) -> PathBuf {
    let name = match manifest.kind {
        Kind::Collection => manifest.title.as_str(),
        _ => manifest.entries.first().map_or("", |entry| {
            entry.path.rsplit('/').next().unwrap_or_default()
        }),
    };
    // A title is no path: it may name no other folder.
    let name = match name.replace(['/', '\\'], "_").as_str() {
        "" | "." | ".." => "baton".into(),
        name => clean_path(name),
    };
    if path.is_dir() {
        path.join(name)
    } else {
        path.to_path_buf()
    }
}

/// The log beside a download, which lets it go on after a crash: one per output and stream.
pub fn index_path(path: &Path, swarm: &baton_content::SwarmId) -> PathBuf {
    let id: String = swarm.to_string().chars().take(12).collect();
    match path.file_name() {
        Some(name) if !path.is_dir() => {
            path.with_file_name(format!(".{}-{id}.index", name.to_string_lossy()))
        }
        _ => path.join(format!(".baton-{id}.index")),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn nameless() -> io::Result<File> {
    let id = crate::random::<8>()
        .iter()
        .fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
    let path = std::env::temp_dir().join(format!("baton-{id}"));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Files of a collection kept open; Linux gives a process 1,024 handles.
const OPEN_MAX: usize = 128;
