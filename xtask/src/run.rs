//! Child processes, paths and times.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The repository's top folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target/`. What people use is always in `target/dist`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A command in the repository's top folder, with a home (browsers refuse to start without one).
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    if std::env::var_os("HOME").is_none_or(|home| home.is_empty()) {
        command.env("HOME", std::env::temp_dir());
    }
    command
}

/// The cargo that runs us, with its progress as text only.
pub fn cargo() -> Command {
    let mut cargo = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.env("CARGO_TARGET_DIR", target());
    cargo
}

/// Runs one file of integration tests; what follows chooses among them.
pub fn cargo_test(package: &str, file: &str) -> Command {
    let mut test = cargo();
    test.args(["test", "--quiet", "--package", package, "--test", file]);
    test
}

pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{status}: {}", shown(command));
    }
    Ok(())
}

/// What the command prints on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}",
            output.status,
            shown(command),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

/// The file on the PATH that this name starts.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Names of the files of one kind in a folder, sorted; none when there is no folder.
pub fn names_of(folder: &Path, extension: &str) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == extension) {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

/// Does one stage and prints how long it took; `Ok(false)` from it means "nothing to do".
pub fn stage(name: &str, work: impl FnOnce() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    let worked = work().with_context(|| name.to_owned())?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{name:<24} {seconds:>6.1} s{}",
        if worked { "" } else { "  (unchanged)" }
    );
    Ok(())
}
