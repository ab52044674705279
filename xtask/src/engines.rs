//! The engines of televisions: Chromium 79 and 86 out of npm packages, unpacked into `target/engines`.

use crate::run;
use crate::stamp::Inputs;
use anyhow::{Context, Result};

/// Fetches and unpacks both unless they are there. 280 MB on the disk; what they came in is thrown away.
pub fn ensure() -> Result<bool> {
    let folder = run::root().join("playwright/engines");
    let engines = run::root().join("target/engines");
    let programs = ["79", "86"].map(|version| engines.join(version).join("chromium"));
    let mut inputs = Inputs::new("1");
    for name in ["package-lock.json", "unpack.mjs"] {
        inputs.file(&folder.join(name))?;
    }
    inputs.unless_done("engines", &[&programs[0], &programs[1]], || {
        run::run(
            run::command("npm")
                .args(["ci", "--loglevel=error"])
                .current_dir(&folder),
        )
        .context("the tests of old televisions need chrome-aws-lambda from npm")?;
        run::run(
            run::command("node")
                .arg(folder.join("unpack.mjs"))
                .arg(&engines),
        )?;
        Ok(std::fs::remove_dir_all(folder.join("node_modules"))?)
    })
}
