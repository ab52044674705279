//! `cargo xtask build`: WASM, the web app, its compressed copies, the server around it.

use crate::stamp::Inputs;
use crate::{npm, run, wasm};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// How the server is compiled. The WASM is always optimised.
#[derive(Clone, Copy, PartialEq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    pub fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }
}

/// Everything but this program and the client, which is for another target.
///
/// Build, tests and clippy name the same set, so that dependencies get the same features and are compiled once. The web
/// app is embedded in dev builds too (`debug-embed`): the server works wherever it is put.
pub const NATIVE: [&str; 17] = [
    "--workspace",
    "--exclude",
    "xtask",
    "--exclude",
    "baton-client-wasm",
    "--exclude",
    "baton-remote-wasm",
    "--exclude",
    "baton-media-wasm",
    "--exclude",
    "baton-ac3-wasm",
    "--exclude",
    "baton-remux-wasm",
    // Its programs have no end.
    "--exclude",
    "baton-fuzz",
    "--features",
    "rust-embed/debug-embed",
];

/// Folders whose content the web build makes itself.
const WEB_PRODUCTS: [&str; 3] = ["node_modules", "dist", "test-results"];

/// Builds all that has changed; returns `target/dist/baton-server`.
pub fn everything(profile: Profile) -> Result<PathBuf> {
    run::stage("wasm", wasm::build)?;
    run::stage("web", web)?;
    run::stage("server", || server(profile))?;
    Ok(run::root().join("target/dist/baton-server"))
}

/// Vite, then .br and .gz beside each asset. Without a web app there is nothing to do.
pub fn web() -> Result<bool> {
    let web = run::root().join("web");
    if !web.join("package.json").is_file() {
        return Ok(false);
    }
    npm::install(&web)?;
    let compress = run::root().join("xtask/npm/compress.mjs");
    let dist = web.join("dist");
    Inputs::new("vite")
        .folder(&web, &WEB_PRODUCTS)?
        .file(&compress)?
        .unless_done("web", &[&dist], || {
            run::run(&mut npm::script(&web, "build"))?;
            run::run(run::command("node").arg(&compress).arg(&dist))
        })
}

/// The server, with `web/dist` inside, and the command line. Cargo knows by itself whether there is anything to do.
fn server(profile: Profile) -> Result<bool> {
    let dist = run::root().join("target/dist");
    std::fs::create_dir_all(&dist)?;
    let mut cargo = run::cargo();
    cargo
        .args(["build", "--quiet"])
        .args(NATIVE)
        .args(["--bin", "baton-server", "--bin", "baton"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    run::run(&mut cargo)?;
    let folder = if profile == Profile::Release {
        "release"
    } else {
        "debug"
    };
    let built = run::target().join(folder);
    let server = copy(&built, &dist, "baton-server", "server")?;
    Ok(copy(&built, &dist, "baton", "command-line")? || server)
}

/// Copies a program to `target/dist` unless it is there already.
fn copy(from: &Path, dist: &Path, name: &str, stamp: &str) -> Result<bool> {
    let (built, product) = (from.join(name), dist.join(name));
    Inputs::new("copy")
        .file(&built)?
        .unless_done(stamp, &[&product], || {
            // Not over a file that runs ("text file busy"): a new one takes its name.
            let fresh = dist.join(format!("{name}.new"));
            std::fs::copy(&built, &fresh)?;
            Ok(std::fs::rename(&fresh, &product)?)
        })
}
