//! What this machine carries over loopback without any of us: curl from nginx.

use anyhow::{Context, Result};
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

/// Prints MB/s, or that there is no nginx or curl here.
pub fn curl_from_nginx(bytes: u64) -> Result<()> {
    let name = "curl from nginx";
    let here = |program: &str| Command::new(program).arg(version(program)).output().is_ok();
    if !here("nginx") || !here("curl") {
        println!("{name:38}   not here");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    crate::stage::write_film(&root.join("film.bin"), bytes)?;
    // Free a moment ago; nginx cannot say which one it took.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let place = root.display();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary += &format!("{kind}_temp_path {place}/{kind}; ");
    }
    // One process, which is the one that is ended below: a worker would go on without its master.
    let configuration = format!(
        "daemon off; master_process off; user root; pid {place}/pid; error_log stderr crit; events {{}} \
         http {{ {temporary} access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {place}; }} }}"
    );
    std::fs::write(root.join("nginx.conf"), configuration)?;
    let mut nginx = Command::new("nginx")
        .arg("-c")
        .arg(root.join("nginx.conf"))
        .spawn()?;
    let began = Instant::now();
    let fetched = Command::new("curl")
        .args([
            "-sf",
            "--retry",
            "20",
            "--retry-connrefused",
            "--retry-delay",
            "1",
            "-o",
        ])
        .arg(root.join("copy.bin"))
        .args(["-w", "%{speed_download}"])
        .arg(format!("http://127.0.0.1:{port}/film.bin"))
        .output()
        .context("curl");
    let took = began.elapsed();
    nginx.kill()?;
    nginx.wait()?;
    let fetched = fetched?;
    let rate: f64 = String::from_utf8_lossy(&fetched.stdout)
        .parse()
        .unwrap_or(0.0);
    println!(
        "{name:38} {:>9.1}   ({:.1} s with its start)",
        rate / 1e6,
        took.as_secs_f64()
    );
    Ok(())
}

fn version(program: &str) -> &'static str {
    if program == "nginx" {
        "-v"
    } else {
        "--version"
    }
}
