//! One transfer at full rate for as long as is asked for, and what this process, which is both ends, holds meanwhile.
//!
//! The film is a sparse file, longer than is carried in the time. The viewer's copy is a real file without a name, and what was written to it is
//! given back to the file system every few seconds: zeros stay zeros, so an hour fits on any disk.

use crate::keeper::memory;
use crate::stage::{Stage, fetch};
use anyhow::{Context, Result, bail};
use baton_client_native::News;
use baton_client_native::peer::Destination;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Carries for so many minutes, and fails when memory grew by more than the pieces' own bookkeeping.
pub async fn run(minutes: u64) -> Result<()> {
    let stage = Stage::new().await?;
    let bytes = minutes * 60 * FASTEST_BYTES_PER_SECOND;
    let mut published = stage.publish_zeros(bytes)?;
    let mut viewer = fetch(&published.url, Destination::Nameless, &stage.net)?;
    let mut samples = Samples::default();
    let began = Instant::now();
    let mut tick = tokio::time::interval(SAMPLE);
    println!("load {}", crate::load());
    println!(
        "{:>8} {:>12} {:>10} {:>10}",
        "minute", "MB carried", "MB/s", "MB held"
    );
    while began.elapsed() < Duration::from_secs(minutes * 60) {
        tokio::select! {
            _ = tick.tick() => {}
            news = viewer.news.recv() => match news {
                Some(News::Problem(problem)) => bail!("the viewer: {problem}"),
                Some(News::Finished) => bail!("{bytes} bytes were carried before the time was over"),
                Some(_) => continue,
                None => bail!("the viewer's session ended"),
            },
            news = published.session.news.recv() => match news {
                Some(News::Problem(problem)) => bail!("the publisher: {problem}"),
                Some(_) => continue,
                None => bail!("the publisher's session ended"),
            },
        }
        give_back(bytes)?;
        let carried = viewer.snapshot.borrow().stats.received_bytes;
        samples.take(
            began.elapsed(),
            carried,
            memory(std::process::id(), "VmRSS")?,
        );
    }
    viewer.leave().await;
    published.session.leave().await;
    println!("load {}", crate::load());
    samples.verdict()
}

struct Sample {
    at: Duration,
    carried: u64,
    held: u64,
}

#[derive(Default)]
struct Samples {
    all: Vec<Sample>,
    told_minute: u64,
}

impl Samples {
    fn take(&mut self, at: Duration, carried: u64, held: u64) {
        let minute = at.as_secs() / 60;
        if minute > self.told_minute {
            self.told_minute = minute;
            println!(
                "{minute:>8} {:>12} {:>10.1} {:>10}",
                carried / 1_000_000,
                carried as f64 / 1e6 / at.as_secs_f64(),
                held / 1_000_000
            );
        }
        self.all.push(Sample { at, carried, held });
    }

    /// The least that was held in a quarter of the time after the warm-up: noise is upwards.
    fn least(&self, quarter: usize) -> Result<&Sample> {
        let warm: Vec<_> = self.all.iter().filter(|it| it.at >= WARM_UP).collect();
        let (from, to) = (warm.len() * quarter / 4, warm.len() * (quarter + 1) / 4);
        let least = warm[from..to].iter().min_by_key(|it| it.held);
        least
            .copied()
            .context("too short for a verdict: two minutes at least")
    }

    fn verdict(&self) -> Result<()> {
        let (first, last) = (self.least(0)?, self.least(3)?);
        let most = self.all.iter().map(|it| it.held).max().unwrap_or(0);
        let grown = last.held.saturating_sub(first.held);
        let carried = last.carried - first.carried;
        let pieces = carried / baton_content::PIECE_LEN as u64;
        if pieces == 0 {
            bail!("nothing was carried");
        }
        let allowed = SLACK_BYTES + pieces * PIECE_BYTES_MAX;
        println!(
            "held {} MB in the first quarter, {} MB in the last, {} MB at most; {} MB carried between: {} bytes for each piece",
            first.held / 1_000_000,
            last.held / 1_000_000,
            most / 1_000_000,
            carried / 1_000_000,
            grown / pieces
        );
        println!(
            "growth of {} MB, wanted at most {} MB ({PIECE_BYTES_MAX} bytes for each piece and {} MB): {}",
            grown / 1_000_000,
            allowed / 1_000_000,
            SLACK_BYTES / 1_000_000,
            if grown <= allowed { "yes" } else { "NO" }
        );
        if most > HELD_BYTES_MAX {
            bail!("{most} bytes were held, {HELD_BYTES_MAX} is the limit");
        }
        if grown > allowed {
            bail!("memory grew by {grown} bytes");
        }
        Ok(())
    }
}

/// Gives back what the viewer's file without a name takes on the disk.
fn give_back(bytes: u64) -> Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        // One that was closed meanwhile is none of ours.
        let Ok(metadata) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if !metadata.is_file() || metadata.nlink() > 0 || metadata.len() < bytes {
            continue;
        }
        let file = File::options().write(true).open(entry.path())?;
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let len = libc::off_t::try_from(metadata.len())?;
        // SAFETY: the descriptor is open, and no memory is passed.
        if unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, len) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(error).context("this file system cannot punch holes");
        }
        return Ok(());
    }
    Ok(())
}

/// No two peers on loopback are faster: the film must outlast the time.
const FASTEST_BYTES_PER_SECOND: u64 = 150_000_000;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(5);
/// Buffers are filled and windows have grown by then.
const WARM_UP: Duration = Duration::from_secs(30);
/// What each piece may cost at both ends together for as long as its stream lasts: what is signed of it, 176 bytes in each of two tables at the publisher and
/// once at the viewer, its row in the log's table, and what is here of it.
const PIECE_BYTES_MAX: u64 = 1024;
/// What an allocator may keep or give back between two looks, and the hashes of the 4,096 pieces that a publisher has whole (9 MB).
const SLACK_BYTES: u64 = 24 << 20;
/// Whatever is carried: two peers hold less than this beside their pieces.
const HELD_BYTES_MAX: u64 = 1 << 30;
