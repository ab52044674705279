//! `cargo xtask soak`: tests that take too long for every run, or that need root, and memory over time.

use crate::{bench, run};
use anyhow::{Context, Result, bail};

/// Thirty peers, then networks with address translation where they can be made, then one to one for some minutes.
pub fn soak(arguments: &[String]) -> Result<()> {
    let minutes = match arguments {
        [] => "10",
        [flag, minutes] if flag == "--minutes" => minutes,
        [name, flag, minutes] if name == "server" && flag == "--minutes" => {
            return bench::server_soak(minutes);
        }
        _ => bail!(
            "`cargo xtask soak` takes only --minutes N, and `server` before it for that part alone"
        ),
    };
    let number: u64 = minutes.parse().context("--minutes N")?;
    ignored("native", "thirty_peers")?;
    match missing() {
        // One after the other: each makes a little internet of its own.
        None => {
            ignored("native_nat", "behind").and_then(|()| ignored("native_nat", "container"))?
        }
        Some(what) => eprintln!("without address translation: {what} is missing"),
    }
    if number > 0 {
        bench::native(&["--minutes".into(), minutes.into()])?;
        bench::server_soak(minutes)?;
    }
    Ok(())
}

/// Runs the ignored tests of one file whose names contain `name`.
fn ignored(file: &str, name: &str) -> Result<()> {
    run::run(run::cargo_test("baton-tests", file).args([
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
        name,
    ]))
}

/// What network namespaces with address translation and a TURN server need, and this machine has not.
fn missing() -> Option<&'static str> {
    let root = run::output(run::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root {
        return Some("root");
    }
    let programs = [
        ("ip", "-V"),
        ("nft", "-v"),
        ("turnserver", "-V"),
        ("redis-server", "-v"),
    ];
    let absent = |(program, flag): &(&str, &str)| run::command(program).arg(flag).output().is_err();
    programs
        .iter()
        .find(|it| absent(it))
        .map(|(program, _)| *program)
}
