//! `cargo xtask deny`: what dependencies may be, as deny.toml has it.
//!
//! The licences are checked here, offline and in a blink, so that every run of the tests does it. cargo-deny knows more: sources,
//! and advisories from a database that it fetches.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run;

/// Licences, and then whatever cargo-deny has to say.
pub fn deny() -> Result<()> {
    run::stage("licences", || licences().map(|()| true))?;
    if run::which("cargo-deny").is_none() {
        bail!("for sources and advisories: cargo install --locked cargo-deny");
    }
    run::run(run::cargo().args(["deny", "check"]))
}

/// Every dependency may be had under licences that deny.toml allows.
pub fn licences() -> Result<()> {
    let text = std::fs::read_to_string(run::root().join("deny.toml"))?;
    let allowed = allowed(&text).context("deny.toml names no licences")?;
    let metadata = run::output(run::cargo().args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let foreign = packages
        .iter()
        .filter(|package| !package["source"].is_null());
    let mut bad = Vec::new();
    for package in foreign {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            bad.push(format!("{}: {licence}", package["name"]));
        }
    }
    ensure!(
        bad.is_empty(),
        "not allowed by deny.toml: {}",
        bad.join(", ")
    );
    Ok(())
}

/// The strings of `allow = […]`.
fn allowed(text: &str) -> Option<Vec<&str>> {
    let list = text.split_once("\nallow = [")?.1.split_once("\n]")?.0;
    let item = |line: &'_ str| line.trim().starts_with('"');
    let names = list.lines().filter(|line| item(line));
    Some(names.filter_map(|line| line.split('"').nth(1)).collect())
}

/// SPDX expressions as crates write them: alternatives, perhaps in parentheses, joined by AND.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let one = |alternatives: &str| {
        let bare = alternatives.trim().trim_matches(['(', ')']);
        bare.replace(" OR ", "/")
            .split('/')
            .any(|name| allowed.contains(&name.trim()))
    };
    expression.split(" AND ").all(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_one_of_its_alternatives_is() {
        let text = "[licenses]\nallow = [\n    \"MIT\",\n    # \"GPL-3.0\" is not.\n    \"A WITH B\",\n]\n";
        let allowed = allowed(text).unwrap();
        assert_eq!(allowed, ["MIT", "A WITH B"]);
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "A WITH B OR GPL-3.0",
            "(GPL-3.0 OR MIT) AND MIT",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "none", "A", ""] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}
