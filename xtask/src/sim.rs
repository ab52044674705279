//! `cargo xtask sim [SCENARIO …]`: the simulator, built for speed. Names and options are its own; `--help` lists them.

use crate::run;
use anyhow::{Context, Result};
use std::process::ExitCode;

pub fn sim(arguments: &[String]) -> Result<ExitCode> {
    let status = run::cargo()
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "baton-sim",
            "--",
        ])
        .args(arguments)
        .status()
        .context("cannot start cargo")?;
    Ok(ExitCode::from(
        status.code().map_or(1, |code| code.clamp(0, 255) as u8),
    ))
}
