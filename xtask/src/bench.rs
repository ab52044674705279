//! `cargo xtask bench [NAME …]`: a release build, then bench/run.mjs, which measures and prints.

use crate::{browsers, build, npm, run};
use anyhow::Result;
use std::path::PathBuf;

/// Names and options are bench/run.mjs's own; `--help` lists them.
pub fn bench(arguments: &[String]) -> Result<()> {
    if let Some(("native", rest)) = arguments
        .split_first()
        .map(|(name, rest)| (name.as_str(), rest))
    {
        return native(rest);
    }
    let folder = run::root().join("bench");
    let script = folder.join("run.mjs");
    if arguments
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        npm::install(&folder)?;
        return run::run(run::command("node").arg(script).arg("--help"));
    }
    // `BATON_SERVER` names a build that is to be measured as it is.
    if std::env::var_os("BATON_SERVER").is_none() {
        build::everything(build::Profile::Release)?;
    }
    run::stage("wire", wire)?;
    npm::install(&folder)?;
    let browsers = browsers::ensure()?;
    run::run(
        browsers
            .to(run::command("node"))
            .env("BATON_WIRE", wire_program())
            .arg(script)
            .args(arguments),
    )
}

/// Native peers need no browser.
fn native(arguments: &[String]) -> Result<()> {
    run::run(
        run::cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "baton-bench-native",
                "--",
            ])
            .args(arguments),
    )
}

/// The slow network of the shaped figures. Cargo knows by itself whether there is anything to do.
fn wire() -> Result<bool> {
    run::run(run::cargo().args(["build", "--quiet", "--release", "--package", "baton-wire"]))?;
    Ok(true)
}

fn wire_program() -> PathBuf {
    run::target().join("release/baton-wire")
}
