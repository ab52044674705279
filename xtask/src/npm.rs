//! npm: the packages of one folder, from its lock file.

use crate::run;
use crate::stamp::Inputs;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Vite 8 asks for this; 22.12 and later are fine too.
const NODE_MIN: (u32, u32) = (20, 19);

/// `npm ci` unless it was done for this very lock file. A folder without package.json needs nothing.
pub fn install(folder: &Path) -> Result<bool> {
    if !folder.join("package.json").is_file() {
        return Ok(false);
    }
    check_node()?;
    let lock = folder.join("package-lock.json");
    let has_lock = lock.is_file();
    let mut inputs = Inputs::new("npm ci");
    inputs.file(&folder.join("package.json"))?;
    if has_lock {
        inputs.file(&lock)?;
    }
    let name = folder
        .strip_prefix(run::root())
        .unwrap_or(folder)
        .to_string_lossy()
        .replace('/', "-");
    inputs.unless_done(
        &format!("npm-{name}"),
        &[&folder.join("node_modules")],
        || {
            // The browsers come from the system: nothing is downloaded beside the packages themselves.
            run::run(
                run::command("npm")
                    .args([
                        if has_lock { "ci" } else { "install" },
                        "--no-audit",
                        "--no-fund",
                        "--loglevel=error",
                    ])
                    .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
                    .current_dir(folder),
            )
        },
    )
}

fn check_node() -> Result<()> {
    let version = run::output(run::command("node").arg("--version"))
        .context("Node.js is needed: https://nodejs.org")?;
    let mut numbers = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < NODE_MIN {
        bail!(
            "Node.js {}.{} or later is needed, this is {}",
            NODE_MIN.0,
            NODE_MIN.1,
            version.trim()
        );
    }
    Ok(())
}

/// `npm run SCRIPT` in a folder.
pub fn script(folder: &Path, script: &str) -> std::process::Command {
    let mut npm = run::command("npm");
    npm.args(["run", "--silent", script]).current_dir(folder);
    npm
}
