//! The programs that browser tests need: found, or installed with apt-get where that is allowed.

use crate::run;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Where the two browsers are.
pub struct Browsers {
    pub chromium: PathBuf,
    pub firefox: PathBuf,
}

impl Browsers {
    /// Tells a script where they are.
    pub fn to(&self, mut command: Command) -> Command {
        command.env("CHROMIUM", &self.chromium).env("FIREFOX", &self.firefox);
        command
    }
}

pub fn ensure() -> Result<Browsers> {
    let chromium = find("CHROMIUM", &["chromium"]).unwrap_or_default();
    let firefox = find("FIREFOX", &["firefox-esr"]).unwrap_or_default();
    Ok(Browsers { chromium, firefox })
}

fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| names.iter().find_map(|name| run::which(name)))
}
