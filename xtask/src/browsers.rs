//! The programs that tests need: found, or installed with apt-get where that is allowed.

use crate::run;
use anyhow::{Context, Result, bail};
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
        command
            .env("CHROMIUM", &self.chromium)
            .env("FIREFOX", &self.firefox);
        command
    }
}

/// Finds both browsers, Firefox's H.264 decoder, ffmpeg, redis-server, pebble and pulseaudio; installs what is missing.
///
/// `CHROMIUM` and `FIREFOX` name other programs than those on the PATH.
pub fn ensure() -> Result<Browsers> {
    let missing = missing();
    if !missing.is_empty() {
        install(&missing)?;
    }
    Ok(Browsers {
        chromium: chromium().context("there is no Chromium: install one or set CHROMIUM")?,
        firefox: firefox().context("there is no Firefox: install one or set FIREFOX")?,
    })
}

fn chromium() -> Option<PathBuf> {
    find(
        "CHROMIUM",
        &["chromium", "chromium-browser", "google-chrome"],
    )
}

fn firefox() -> Option<PathBuf> {
    find("FIREFOX", &["firefox-esr", "firefox"])
}

fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    named.or_else(|| names.iter().find_map(|name| run::which(name)))
}

/// Debian's names of what is not here.
fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if chromium().is_none() {
        missing.push("chromium".to_owned());
    }
    if firefox().is_none() {
        missing.push("firefox-esr".to_owned());
    }
    if run::which("ffmpeg").is_none() || run::which("ffprobe").is_none() {
        missing.push("ffmpeg".to_owned());
    }
    // Firefox plays no sound alone on a machine without a sound card.
    if run::which("pulseaudio").is_none() {
        missing.push("pulseaudio".to_owned());
    }
    // For the tests of many nodes.
    if run::which("redis-server").is_none() {
        missing.push("redis-server".to_owned());
    }
    // An authority of certificates, for the tests of those that the server gets by itself.
    // (Another program has its name, too.)
    if run::which("pebble-challtestsrv").is_none() {
        missing.push("pebble".to_owned());
    }
    // Only a Recommends of Firefox's package, without which it plays no H.264.
    if std::env::var_os("FIREFOX").is_none() && !has_package_like("libavcodec") {
        missing.push("libavcodec".to_owned());
    }
    missing
}

/// Whether a package of this name and a number is installed; true where there is no dpkg to ask.
fn has_package_like(name: &str) -> bool {
    if run::which("dpkg-query").is_none() {
        return true;
    }
    let asked = run::command("dpkg-query")
        .args([
            "-W",
            "-f",
            "${Package} ${db:Status-Status}\n",
            &format!("{name}*"),
        ])
        .output();
    let answer = asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let installed = answer
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"));
    numbered(installed, name).is_some()
}

/// The highest of `name` + digits among these words.
fn numbered<'a>(words: impl Iterator<Item = &'a str>, name: &str) -> Option<String> {
    let number = |word: &&str| {
        word.strip_prefix(name)
            .and_then(|rest| rest.parse::<u32>().ok())
    };
    words
        .filter(|word| number(word).is_some())
        .max_by_key(number)
        .map(str::to_owned)
}

fn install(packages: &[String]) -> Result<()> {
    let list = packages.join(" ");
    if run::which("apt-get").is_none() {
        bail!("the tests need {list}: install them, or name the browsers in CHROMIUM and FIREFOX");
    }
    eprintln!("installing {list}");
    let is_root = run::output(run::command("id").arg("-u"))?.trim() == "0";
    let apt = |arguments: &[&str]| {
        let mut apt = if is_root {
            run::command("env")
        } else {
            let mut sudo = run::command("sudo");
            sudo.args(["-n", "env"]);
            sudo
        };
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"])
            .args(arguments);
        run::run(&mut apt)
            .with_context(|| format!("the tests need {list} and apt-get could not install them"))
    };
    apt(&["update"])?;
    let names = packages
        .iter()
        .map(|name| exact_name(name))
        .collect::<Result<Vec<_>>>()?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(names.iter().map(String::as_str));
    apt(&arguments)
}

/// `libavcodec` is `libavcodec59` or whatever this release calls it.
fn exact_name(name: &str) -> Result<String> {
    if name != "libavcodec" {
        return Ok(name.to_owned());
    }
    let known = run::output(run::command("apt-cache").args(["pkgnames", name]))?;
    numbered(known.lines(), name).context("apt knows no libavcodec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_library_is_the_one_with_a_number() {
        let words = [
            "libavcodec-dev",
            "libavcodec59",
            "libavcodec60",
            "libavcodec-extra59",
            "libavcodec-extra",
        ];
        assert_eq!(
            numbered(words.into_iter(), "libavcodec").as_deref(),
            Some("libavcodec60")
        );
        assert_eq!(numbered(["libavcodec-dev"].into_iter(), "libavcodec"), None);
    }
}
