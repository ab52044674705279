//! `cargo xtask geo`: a database of countries that anybody may use (CC0), for `baton-server --geo`.

use crate::run;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Kept current by its makers day by day; any later one will do.
const PACKAGE: &str = "@ip-location-db/geo-whois-asn-country-mmdb";

/// Fetches it, newer than what is there if there is, and says where it is.
pub fn geo() -> Result<()> {
    println!("{}", fetch()?.display());
    Ok(())
}

fn fetch() -> Result<PathBuf> {
    let folder = run::target().join("geo");
    std::fs::create_dir_all(&folder)?;
    let latest = format!("{PACKAGE}@latest");
    run::run(
        run::command("npm")
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .args(["--no-save", "--loglevel=error", "--prefix"])
            .arg(&folder)
            .arg(latest),
    )?;
    let package = folder.join("node_modules").join(PACKAGE);
    run::names_of(&package, "mmdb")?
        .first()
        .map(|name| package.join(format!("{name}.mmdb")))
        .context("the package holds no .mmdb")
}
