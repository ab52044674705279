//! Stamps: what a stage was made from, so that it is not done again.
//!
//! A stamp is a BLAKE3 over the bytes of all inputs, not over their times: a fresh clone or a touched file changes nothing.

use crate::run;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The inputs of one stage, hashed.
#[derive(Default)]
pub struct Inputs(blake3::Hasher);

impl Inputs {
    /// `recipe` changes whenever the stage itself would do something else with the same inputs.
    pub fn new(recipe: &str) -> Self {
        let mut inputs = Self::default();
        inputs.part(recipe.as_bytes());
        inputs
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub fn file(&mut self, path: &Path) -> Result<&mut Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        self.part(path.to_string_lossy().as_bytes());
        self.part(&bytes);
        Ok(self)
    }

    /// Every file below a folder except in the folders of these names.
    pub fn folder(&mut self, folder: &Path, except: &[&str]) -> Result<&mut Self> {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for path in entries {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !except.contains(&name.as_str()) {
                self.folder(&path, except)?;
            } else if path.is_file() {
                self.file(&path)?;
            }
        }
        Ok(self)
    }

    /// Does `work` unless the last one that succeeded under this name had the same inputs and its `products` are there.
    ///
    /// Returns whether it worked.
    pub fn unless_done(
        &self,
        name: &str,
        products: &[&Path],
        work: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        let folder = run::root().join("target/stamps");
        let stamp = folder.join(name);
        let inputs = self.0.finalize().to_hex().to_string();
        let there = products.iter().all(|product| product.exists());
        if there && std::fs::read_to_string(&stamp).is_ok_and(|last| last == inputs) {
            return Ok(false);
        }
        std::fs::create_dir_all(&folder)?;
        let _ = std::fs::remove_file(&stamp);
        work()?;
        std::fs::write(&stamp, inputs)?;
        Ok(true)
    }
}
