//! A million presences in a real Redis, a tenth of them in one swarm, and who joins it then.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::member::{Member, signed, swarm_key};
use crate::process::{Process, baton, free_port};

pub struct Million {
    pub join_p99: Duration,
    /// Of all the candidates that two joiners were named, how many were the same, on average.
    pub same: f64,
    pub redis_bytes: f64,
}

/// Starts Redis and a server that has it for its cluster, and joins the big swarm again and again.
pub async fn measure(program: &Path, joins: u32) -> Result<Million> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path());
    let redis = Process::start(command, port).await?;
    tokio::task::spawn_blocking(move || fill(port)).await??;
    let listen = free_port()?;
    let cluster = format!("redis://127.0.0.1:{port}");
    let flags = [
        "--cluster",
        &cluster,
        "--swarm-peers-max",
        "1000000",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let server = Process::start(baton(program, listen, &flags), listen).await?;
    connected(server.port).await?;
    let mut times = Vec::new();
    let mut named: Vec<BTreeSet<[u8; 32]>> = Vec::new();
    let mut members = Vec::new();
    for number in 0..joins {
        let join = signed(listen, BIG, number);
        // Each from a street of its own, among those of the million.
        let address = format!("10.{}.{}.9", number % 256, number / 256);
        let joined = Member::join_by(listen, BIG, number, &join, &address).await?;
        let (member, candidates, took) = joined;
        times.push(took);
        named.push(candidates.iter().map(|it| it.peer).collect());
        members.push(member);
    }
    times.sort();
    let pairs = named.windows(2);
    let shared = pairs.map(|pair| pair[0].intersection(&pair[1]).count() as f64 / 16.0);
    Ok(Million {
        join_p99: times[times.len() * 99 / 100],
        same: shared.sum::<f64>() / f64::from(joins - 1),
        redis_bytes: redis.memory()?,
    })
}

/// Waits until the server has Redis.
async fn connected(port: u16) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        if text.contains("\nbaton_cluster_connected 1\n") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the server does not find its Redis");
}

/// Presences as a node writes them (docs/signalling.md), all of one node that lives long.
fn fill(port: u16) -> Result<()> {
    let mut redis = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    let mut random = fastrand::Rng::with_seed(1);
    let node: [u8; 16] = *b"a node that is  ";
    ask(
        &mut redis,
        &[&[b"ZADD", b"baton:nodes", b"9e15", &node[..]]],
    )?;
    let mut commands: Vec<Vec<Vec<u8>>> = Vec::new();
    for swarm in 0..=SMALL_SWARMS {
        let (number, peers) = match swarm {
            SMALL_SWARMS => (BIG, BIG_PEERS),
            small => (BIG + 1 + small, SMALL_PEERS),
        };
        let id = match number {
            BIG => swarm_key(BIG).verifying_key().to_bytes(),
            _ => std::array::from_fn(|_| random.u8(..)),
        };
        let world = format!("baton:{{{}}}", URL_SAFE_NO_PAD.encode(id)).into_bytes();
        for _ in 0..peers {
            let peer: [u8; 32] = std::array::from_fn(|_| random.u8(..));
            // Somewhere in 16 million addresses of which as many share a prefix as would.
            let place = 0xffff_0000_0000u128 | 0x0a00_0000 | u128::from(random.u32(..) & 0xff_ffff);
            let street = place & !0xff;
            let cell = [&world[..], b":s", &street.to_be_bytes()].concat();
            let value = presence(&node, place, &mut random);
            commands.push(vec![b"HSET".to_vec(), world.clone(), peer.to_vec(), value]);
            commands.push(vec![b"HSET".to_vec(), cell, peer.to_vec(), Vec::new()]);
            if commands.len() >= 10_000 {
                send(&mut redis, &std::mem::take(&mut commands))?;
            }
        }
    }
    send(&mut redis, &commands)
}

fn presence(node: &[u8; 16], place: u128, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(node);
    bytes.extend(1_700_000_000u64.to_be_bytes());
    bytes.extend(place.to_be_bytes());
    // No country, network, city nor direction is known.
    bytes.extend([0; 16]);
    bytes.extend((random.u16(0..=1000)).to_be_bytes());
    bytes.push(random.u8(0..8));
    bytes
}

fn ask(redis: &mut BufReader<TcpStream>, command: &[&[&[u8]]]) -> Result<()> {
    let owned: Vec<Vec<Vec<u8>>> = command
        .iter()
        .map(|words| words.iter().map(|word| word.to_vec()).collect())
        .collect();
    send(redis, &owned)
}

/// Sends commands at once and reads as many short answers.
fn send(redis: &mut BufReader<TcpStream>, commands: &[Vec<Vec<u8>>]) -> Result<()> {
    let mut bytes = Vec::new();
    for command in commands {
        write!(bytes, "*{}\r\n", command.len())?;
        for word in command {
            write!(bytes, "${}\r\n", word.len())?;
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
    }
    redis.get_mut().write_all(&bytes)?;
    for _ in commands {
        let mut line = String::new();
        redis.read_line(&mut line).context("Redis answers")?;
        if !line.starts_with(':') {
            bail!("Redis says {line}");
        }
    }
    Ok(())
}

const BIG: u32 = 1_000_000;
const BIG_PEERS: u32 = 100_000;
const SMALL_SWARMS: u32 = 9_000;
const SMALL_PEERS: u32 = 100;
