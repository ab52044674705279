//! `cargo xtask bench signal [--rounds N]`: our signalling server beside `bittorrent-tracker` and `aquatic_ws`, in turn, on loopback.
//!
//! Prints memory per idle connection, processor time per relayed message and the time from offer to delivery at 2,000 connections, then
//! ten thousand idle connections and a million presences of our own, then what is wanted and whether it is so.
//! `soak MINUTES`, of `cargo xtask soak`, sees whether memory comes back.

mod member;
mod million;
mod process;
mod soak;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use member::{Member, Words};
use process::{Process, baton, free_port, raise_file_limit};
use tokio::sync::Semaphore;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let files = raise_file_limit();
    if files < 12_000 {
        bail!("this system allows {files} open files; 12,000 are needed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    runtime.block_on(async {
        match words.as_slice() {
            ["soak", minutes] => soak::run(&program()?, minutes.parse()?).await,
            [] => run(1).await,
            ["--rounds", rounds] => run(rounds.parse()?).await,
            _ => bail!("bench signal [--rounds N]"),
        }
    })
}

/// What one server took in one round.
#[derive(Clone, Copy)]
struct Figures {
    bytes_per_connection: f64,
    cpu_us_per_message: f64,
    p50: Duration,
    p99: Duration,
}

/// A server and how it is started.
struct System {
    name: &'static str,
    words: Words,
    start: Box<dyn Fn(u16) -> Command>,
}

async fn run(rounds: usize) -> Result<()> {
    let program = program()?;
    let folder = tempfile::tempdir()?;
    let systems = systems(&program, folder.path());
    let mut all: Vec<Vec<Figures>> = systems.iter().map(|_| Vec::new()).collect();
    println!("load {}", load());
    println!(
        "{:20} {:>18} {:>16} {:>9} {:>9}",
        "", "KB per connection", "CPU µs a message", "p50 ms", "p99 ms"
    );
    for _ in 0..rounds {
        for (system, figures) in systems.iter().zip(&mut all) {
            match measure(system).await {
                Ok(it) => {
                    print_row(system.name, &it);
                    figures.push(it);
                }
                Err(error) => println!("{:20} {error:#}", system.name),
            }
        }
    }
    let many = idle_thousands(&program).await?;
    println!("\n{IDLE_MANY} idle WebSockets: {:.1} MB in all", many / 1e6);
    let million = million::measure(&program, 500).await?;
    println!(
        "a million presences: join p99 {:.2} ms, {:.0} % of candidates alike, Redis {:.0} MB",
        ms(million.join_p99),
        million.same * 100.0,
        million.redis_bytes / 1e6
    );
    println!("\nload {}", load());
    let [ours, webtorrent, aquatic] = [0, 1, 2].map(|at| median(&all[at]));
    let ours = ours.context("our own server was not measured")?;
    let p99 = |it: Figures| ms(it.p99);
    for (name, rival) in [("bittorrent-tracker", webtorrent), ("aquatic_ws", aquatic)] {
        if rival.is_none() {
            println!("{name} was not measured: what is wanted beside it is not known");
        }
    }
    if let Some(rival) = webtorrent {
        let (a, b) = (ours.bytes_per_connection, rival.bytes_per_connection);
        verdict("memory, of bittorrent-tracker's", a / b, 1.0);
        verdict("p99, of bittorrent-tracker's", p99(ours) / p99(rival), 1.0);
    }
    if let Some(rival) = aquatic {
        let (a, b) = (ours.cpu_us_per_message, rival.cpu_us_per_message);
        verdict("CPU per message, of aquatic's", a / b, 0.5);
        verdict("p99, of aquatic's", p99(ours) / p99(rival), 1.0);
    }
    verdict("MB for 10,000 idle", many / 1e6, 100.0);
    verdict("join p99 among a million, ms", ms(million.join_p99), 20.0);
    verdict("candidates alike", million.same, 0.5);
    Ok(())
}

fn systems(program: &Path, folder: &Path) -> Vec<System> {
    let ours = program.to_owned();
    let root = root();
    let tracker = root.join("bench/signal/rivals/tracker.mjs");
    let aquatic = root.join("target/rivals/bin/aquatic_ws");
    let config = folder.join("aquatic.toml");
    vec![
        System {
            name: "baton-server",
            words: Words::Baton,
            start: Box::new(move |port| baton(&ours, port, &[])),
        },
        System {
            name: "bittorrent-tracker",
            words: Words::Tracker,
            start: Box::new(move |port| {
                let mut command = Command::new("node");
                command.arg(&tracker).arg(port.to_string());
                command
            }),
        },
        System {
            name: "aquatic_ws",
            words: Words::Tracker,
            start: Box::new(move |port| {
                let text = format!(
                    "socket_workers = 1\nswarm_workers = 1\nlog_level = \"off\"\n[network]\naddress = \"127.0.0.1:{port}\"\n"
                );
                std::fs::write(&config, text).expect("a folder of our own");
                let mut command = Command::new(&aquatic);
                command.arg("-c").arg(&config).stderr(Stdio::null());
                command
            }),
        },
    ]
}

/// Two thousand connections in pairs: what they take while idle, then offers and answers at leisure, then as fast as some can.
async fn measure(system: &System) -> Result<Figures> {
    let port = free_port()?;
    let process = Process::start((system.start)(port), port).await?;
    // What a first connection sets up belongs to no connection.
    drop(crowd(port, system.words, 1_000_000, 4).await?);
    settle().await;
    let before = process.memory()?;
    let members = crowd(port, system.words, 0, CONNECTIONS).await?;
    settle().await;
    let bytes_per_connection = (process.memory()? - before) / f64::from(CONNECTIONS);
    let (mut pairs, mut latencies) = leisure(pairs(members)).await?;
    latencies.sort();
    let fast: Vec<_> = pairs.drain(..FAST_PAIRS).collect();
    let cpu = process.cpu_s()?;
    try_join_all(fast.into_iter().map(|pair| tokio::spawn(talk(pair))))
        .await?
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let messages = (FAST_PAIRS * 2 * FAST_TURNS) as f64;
    let cpu_us_per_message = (process.cpu_s()? - cpu) * 1e6 / messages;
    Ok(Figures {
        bytes_per_connection,
        cpu_us_per_message,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    })
}

/// So many members, two to a swarm, a few at a time.
async fn crowd(port: u16, words: Words, first_swarm: u32, count: u32) -> Result<Vec<Member>> {
    let doors = Arc::new(Semaphore::new(32));
    let tasks = (0..count).map(|number| {
        let doors = doors.clone();
        tokio::spawn(async move {
            let _door = doors.acquire().await?;
            Member::join(port, words, first_swarm + number / 2, number).await
        })
    });
    try_join_all(tasks).await?.into_iter().collect()
}

fn pairs(members: Vec<Member>) -> Vec<(Member, Member)> {
    let mut members = members.into_iter();
    std::iter::from_fn(|| Some((members.next()?, members.next()?))).collect()
}

/// Each pair makes an offer every two seconds, all at different moments; how long each took to be there.
async fn leisure(pairs: Vec<(Member, Member)>) -> Result<(Vec<(Member, Member)>, Vec<Duration>)> {
    let began = tokio::time::Instant::now() + Duration::from_millis(100);
    let count = pairs.len() as u32;
    let tasks = pairs.into_iter().enumerate().map(|(at, (mut a, mut b))| {
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            for turn in 0..LEISURE_TURNS {
                let offset = LEISURE * at as u32 / count;
                tokio::time::sleep_until(began + LEISURE * turn + offset).await;
                let number = u64::from(turn);
                let sent = Instant::now();
                a.offer(&b, number).await?;
                b.hear(number).await?;
                latencies.push(sent.elapsed());
                b.answer(&a, number).await?;
                a.hear(number).await?;
            }
            anyhow::Ok(((a, b), latencies))
        })
    });
    let done: Vec<_> = try_join_all(tasks)
        .await?
        .into_iter()
        .collect::<Result<_>>()?;
    let (pairs, latencies): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    Ok((pairs, latencies.into_iter().flatten().collect()))
}

/// Offers and answers, one after the other.
async fn talk((mut a, mut b): (Member, Member)) -> Result<()> {
    for turn in 0..FAST_TURNS as u64 {
        let number = 1000 + turn;
        a.offer(&b, number).await?;
        b.hear(number).await?;
        b.answer(&a, number).await?;
        a.hear(number).await?;
    }
    Ok(())
}

/// All the memory of our server with so many connections that have joined and say nothing.
async fn idle_thousands(program: &Path) -> Result<f64> {
    let port = free_port()?;
    let process = Process::start(baton(program, port, &[]), port).await?;
    let _members = crowd(port, Words::Baton, 0, IDLE_MANY).await?;
    settle().await;
    process.memory()
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// The server that is measured: `BATON_SERVER`, or the release build.
fn program() -> Result<PathBuf> {
    let program = std::env::var_os("BATON_SERVER")
        .map_or_else(|| root().join("target/dist/baton-server"), PathBuf::from);
    if !program.is_file() {
        bail!(
            "{} is not there: cargo xtask build --release",
            program.display()
        );
    }
    Ok(program)
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn print_row(name: &str, it: &Figures) {
    println!(
        "{name:20} {:>18.1} {:>16.1} {:>9.2} {:>9.2}",
        it.bytes_per_connection / 1000.0,
        it.cpu_us_per_message,
        ms(it.p50),
        ms(it.p99)
    );
}

fn verdict(name: &str, figure: f64, at_most: f64) {
    let fits = if figure <= at_most { "yes" } else { "NO" };
    println!("{name:38} {figure:>9.2}     wanted at most {at_most:.2}: {fits}");
}

/// Each figure's own median.
fn median(rounds: &[Figures]) -> Option<Figures> {
    let middle = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(Figures {
        bytes_per_connection: middle(|it| it.bytes_per_connection)?,
        cpu_us_per_message: middle(|it| it.cpu_us_per_message)?,
        p50: Duration::from_secs_f64(middle(|it| it.p50.as_secs_f64())?),
        p99: Duration::from_secs_f64(middle(|it| it.p99.as_secs_f64())?),
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map_or_else(|_| "unknown".into(), |it| it.trim().into())
}

const CONNECTIONS: u32 = 2000;
const IDLE_MANY: u32 = 10_000;
/// How often each pair makes an offer: 500 a second in all.
const LEISURE: Duration = Duration::from_secs(2);
const LEISURE_TURNS: u32 = 4;
const FAST_PAIRS: usize = 50;
const FAST_TURNS: usize = 200;
