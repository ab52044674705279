//! A server under measurement: started, asked what it takes, ended.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

/// One server, killed on drop.
pub struct Process {
    child: Child,
    pub port: u16,
}

impl Process {
    /// Starts it and waits until its port takes connections.
    pub async fn start(mut command: Command, port: u16) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut process = Process { child, port };
        let until = Instant::now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{program} ended: {status}");
            }
            if Instant::now() > until {
                bail!("{program} does not listen");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(process)
    }

    /// Bytes of memory that are its own now.
    pub fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("no VmRSS")? * 1024.0)
    }

    /// Seconds of processor time since it started.
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.proc("stat"))?;
        // The name in brackets may hold spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        // SAFETY: asks for a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok(ticks / per_second as f64)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// Our server, with limits that do not stand in the way of a load from one address.
pub fn baton(program: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    // All clients are at one address here.
    for limit in [
        "--connections-per-address",
        "--swarms-per-address",
        "--joins-per-second",
        "--joins-burst",
    ] {
        command.args([limit, "100000"]);
    }
    command.args(more);
    command.stderr(Stdio::null());
    command
}

/// As many files as the system allows: each connection is one at either end.
pub fn raise_file_limit() -> u64 {
    // SAFETY: the pointers are good for the calls.
    unsafe {
        let mut limit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        limit.rlim_cur
    }
}

const START_PATIENCE: Duration = Duration::from_secs(20);
