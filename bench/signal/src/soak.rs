//! Churn: joins, floods, slow readers, garbage, sockets left half open. When all have gone, memory must be what it was.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use baton_signal_protocol::{ClientMessage, FRAME_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::member::{Member, Words};
use crate::process::{Process, baton, free_port};

/// What the churners share.
#[derive(Default)]
struct Churn {
    port: u16,
    over: AtomicBool,
    numbers: AtomicU64,
    joins: AtomicU64,
    ended_by_server: AtomicU64,
}

/// Churns for so long; fails if more than a tenth of the memory stays.
pub async fn run(program: &Path, minutes: f64) -> Result<()> {
    let port = free_port()?;
    let flags = [
        ["--http-connections-per-address", "100000"],
        ["--join-timeout", "3"],
        ["--keepalive", "3"],
        ["--send-timeout", "3"],
    ];
    let mut command = baton(program, port, flags.as_flattened());
    command.arg("--relay");
    let process = Process::start(command, port).await?;
    let fresh = process.memory()?;
    // A program that has worked holds more than one that has not: that is its start.
    let warm_up = Duration::from_secs_f64(30f64.min(minutes * 20.0));
    let (joins, _, _) = churn(port, &process, warm_up).await?;
    let start = at_rest(&process).await?;
    println!(
        "fresh {:.1} MB, after {} joins {:.1} MB",
        fresh / 1e6,
        joins,
        start / 1e6
    );
    let length = Duration::from_secs_f64(minutes * 60.0);
    let (joins, ended, most) = churn(port, &process, length).await?;
    let end = at_rest(&process).await?;
    println!(
        "{minutes} minutes of churn: {joins} joins, {ended} connections ended by the server; at most {:.1} MB, then {:.1} MB, {:+.1} %",
        most / 1e6,
        end / 1e6,
        (end / start - 1.0) * 100.0
    );
    // Still at work.
    Member::join(port, Words::Baton, 0, 0).await?;
    if end > start * 1.1 {
        bail!("more than a tenth of the memory stayed");
    }
    Ok(())
}

/// Lets all kinds loose; joins, connections that the server ended, and the most memory that was seen.
async fn churn(port: u16, process: &Process, length: Duration) -> Result<(u64, u64, f64)> {
    let churn = Arc::new(Churn {
        port,
        ..Churn::default()
    });
    let mut tasks = Vec::new();
    let mut start = |count: usize, kind: fn(Arc<Churn>) -> Turn| {
        for _ in 0..count {
            let churn = churn.clone();
            tasks.push(tokio::spawn(async move {
                while !churn.over.load(Relaxed) {
                    if kind(churn.clone()).await.is_err() {
                        churn.ended_by_server.fetch_add(1, Relaxed);
                    }
                }
            }));
        }
    };
    start(100, |it| Box::pin(visit(it)));
    start(2, |it| Box::pin(flood(it)));
    start(8, |it| Box::pin(read_nothing(it)));
    start(8, |it| Box::pin(talk_nonsense(it)));
    start(50, |it| Box::pin(stay_half_open(it)));
    let until = Instant::now() + length;
    let mut most = 0f64;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(1).min(length)).await;
        most = most.max(process.memory()?);
    }
    churn.over.store(true, Relaxed);
    for task in tasks {
        task.await?;
    }
    let joins = churn.joins.load(Relaxed);
    Ok((joins, churn.ended_by_server.load(Relaxed), most))
}

type Turn = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Churn {
    /// A pair in a swarm that nobody else is in.
    async fn pair(&self) -> Result<(Member, Member)> {
        let number = self.numbers.fetch_add(1, Relaxed) as u32;
        let a = Member::join(self.port, Words::Baton, 1 + number, 2 * number).await?;
        let b = Member::join(self.port, Words::Baton, 1 + number, 2 * number + 1).await?;
        self.joins.fetch_add(2, Relaxed);
        Ok((a, b))
    }
}

/// What people do: come, talk a little, go.
async fn visit(churn: Arc<Churn>) -> Result<()> {
    let (mut a, mut b) = churn.pair().await?;
    for number in 0..5 {
        a.offer(&b, number).await?;
        b.hear(number).await?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..400))).await;
    }
    Ok(())
}

/// Says more than anybody may, until it is thrown out.
async fn flood(churn: Arc<Churn>) -> Result<()> {
    let (mut a, b) = churn.pair().await?;
    for number in 0..5000 {
        a.offer(&b, number).await?;
    }
    Ok(())
}

/// Has a film carried to it and reads none of it.
async fn read_nothing(churn: Arc<Churn>) -> Result<()> {
    let (mut a, b) = churn.pair().await?;
    let carry = ClientMessage::Carry {
        to: b.peer(),
        frame: vec![7; FRAME_MAX],
    };
    for _ in 0..500 {
        if churn.over.load(Relaxed) {
            break;
        }
        a.say(carry.encode()).await?;
    }
    Ok(())
}

/// Bytes that are no message, no frame, or no HTTP.
async fn talk_nonsense(churn: Arc<Churn>) -> Result<()> {
    let garbage: Vec<u8> = (0..fastrand::usize(1..3000))
        .map(|_| fastrand::u8(..))
        .collect();
    match fastrand::u8(0..3) {
        0 => {
            let mut stream = TcpStream::connect(("127.0.0.1", churn.port)).await?;
            stream.write_all(&garbage).await?;
        }
        1 => {
            let mut stream = TcpStream::connect(("127.0.0.1", churn.port)).await?;
            stream.write_all(UPGRADE.as_bytes()).await?;
            stream.write_all(&garbage).await?;
            // Until it is thrown out, which it is by its patience at the latest.
            while stream.read(&mut [0; 256]).await? > 0 {}
        }
        _ => {
            let (mut a, _b) = churn.pair().await?;
            a.say(garbage).await?;
            // Until it is refused.
            let _ = a.hear(u64::MAX).await;
        }
    }
    Ok(())
}

/// Half of a request, or a socket that never joins and never closes properly.
async fn stay_half_open(churn: Arc<Churn>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", churn.port)).await?;
    let sent = match fastrand::bool() {
        true => UPGRADE.len(),
        false => UPGRADE.len() / 2,
    };
    stream.write_all(&UPGRADE.as_bytes()[..sent]).await?;
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..5000))).await;
    Ok(())
}

/// Memory when everybody has gone and every patience has run out.
async fn at_rest(process: &Process) -> Result<f64> {
    tokio::time::sleep(Duration::from_secs(20)).await;
    process.memory()
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: baton.1\r\n\r\n";
