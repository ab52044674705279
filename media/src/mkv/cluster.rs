//! Clusters and blocks (RFC 9559 §5.1.3, §10).

use super::ebml::{Element, element, header, vint};
use super::header::Header;
use super::ids::*;
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};

/// A picture of lossless 8K is far below this.
const BLOCK_MAX: u64 = 64 << 20;
/// Asked for where a block is expected and nothing is here.
const AHEAD: u64 = 64 << 10;
/// How much is searched at a time for the next cluster.
const SCAN: u64 = 64 << 10;

/// A place in the file and what is known there. Small: copied before each step that may have to be repeated.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub at: u64,
    end: u64,
    /// Nanoseconds per tick.
    pub scale: u64,
    cluster: Option<Cluster>,
    /// A cluster whose time was just read, for the index.
    entered: Option<(i64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    start: u64,
    end: Option<u64>,
    ticks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub track: u64,
    ticks: i64,
    pub sync: bool,
    /// In ticks.
    pub duration: Option<u64>,
    lacing: u8,
    /// The frames' bytes, lace sizes included.
    body: u64,
    end: u64,
    pub path: Path,
}

impl Block {
    pub(super) fn time_ns(&self, scale: u64) -> i64 {
        self.ticks.saturating_mul(scale as i64)
    }

    /// Place and size of each frame.
    pub(super) fn frames(&self, source: &Source) -> Result<Vec<(u64, u32)>, Stop> {
        let whole = (self.body, (self.end - self.body) as u32);
        if self.lacing == 0 {
            return Ok(vec![whole]);
        }
        let data = source.get(self.body..self.end, self.path)?;
        let bad = || Stop::Broken(self.path.error(Fault::BadValue, self.body));
        let (sizes, used) = lace(self.lacing, &data).ok_or_else(bad)?;
        let mut at = self.body + used as u64;
        let frames = sizes.into_iter().map(|size| {
            let frame = (at, size);
            at += u64::from(size);
            frame
        });
        Ok(frames.collect())
    }
}

/// Sizes of the frames and where the first begins (§10.3).
fn lace(kind: u8, data: &[u8]) -> Option<(Vec<u32>, usize)> {
    let count = usize::from(*data.first()?) + 1;
    let mut at = 1;
    let mut sizes: Vec<u32> = Vec::with_capacity(count);
    match kind {
        1 => {
            for _ in 1..count {
                let mut size = 0u32;
                loop {
                    let byte = *data.get(at)?;
                    at += 1;
                    size += u32::from(byte);
                    if byte < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        2 => {
            let left = data.len() - at;
            return left.is_multiple_of(count).then(|| (vec![(left / count) as u32; count], at));
        }
        _ => {
            for i in 1..count {
                let (value, len) = vint(data.get(at..)?)?;
                at += len;
                let value = value? as i64;
                // Differences are stored with half their range added.
                let size =
                    if i == 1 { value } else { i64::from(*sizes.last()?) + value - ((1i64 << (7 * len - 1)) - 1) };
                sizes.push(u32::try_from(size).ok()?);
            }
        }
    }
    let used: u64 = sizes.iter().map(|s| u64::from(*s)).sum();
    let last = (data.len() as u64).checked_sub(at as u64)?.checked_sub(used)?;
    sizes.push(last as u32);
    Some((sizes, at))
}

impl Reader {
    pub(super) fn new(header: &Header) -> Reader {
        Reader { at: header.first_cluster, end: header.end, scale: header.scale, cluster: None, entered: None }
    }

    pub(super) fn go_to(&mut self, at: u64) {
        (self.at, self.cluster, self.entered) = (at, None, None);
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Nanoseconds and place of the cluster that the last step entered.
    pub(super) fn take_cluster(&mut self) -> Option<(i64, u64)> {
        self.entered.take()
    }

    pub(super) fn cluster_us(&self, zero_us: i64) -> Option<u64> {
        let ticks = self.cluster?.ticks.min(1 << 40) as i64;
        Some((ticks.saturating_mul(self.scale as i64) / 1000).saturating_sub(zero_us).max(0) as u64)
    }

    /// The next block; `None` at the end. Damage is passed over up to the next cluster.
    pub(super) fn next(&mut self, source: &Source) -> Result<Option<Block>, Stop> {
        loop {
            match self.step(source) {
                Ok(Step::Block(block)) => return Ok(Some(block)),
                Ok(Step::On) => {}
                Ok(Step::End) => return Ok(None),
                Err(Stop::Broken(_)) => match find_cluster(source, self.at + 1, self.end)? {
                    Some(at) => self.go_to(at),
                    None => self.go_to(self.end),
                },
                Err(stop) => return Err(stop),
            }
        }
    }

    fn step(&mut self, source: &Source) -> Result<Step, Stop> {
        if let Some(cluster) = self.cluster
            && cluster.end.is_some_and(|end| self.at >= end)
        {
            self.cluster = None;
        }
        let Some(found) = element(source, self.at, self.end, AHEAD)? else { return Ok(Step::End) };
        let path = Path::root().child(SEGMENT);
        if is_top(found.id) {
            self.cluster = None;
            if found.id == CLUSTER {
                self.cluster = Some(Cluster { start: found.start, end: found.end, ticks: 0 });
            }
            self.at = match found.id {
                CLUSTER | SEGMENT => found.body,
                id => found.end.ok_or_else(|| path.child(id).error(Fault::BadSize, found.start))?,
            };
            return Ok(Step::On);
        }
        let end = found.end.ok_or_else(|| path.child(found.id).error(Fault::BadSize, found.start))?;
        let path = path.child(CLUSTER).child(found.id);
        let Some(cluster) = self.cluster.as_mut() else {
            // Void and other things between clusters.
            if end > self.end {
                return Err(path.error(Fault::BadSize, found.start).into());
            }
            self.at = end;
            return Ok(Step::On);
        };
        if cluster.end.is_some_and(|limit| end > limit) || end > self.end {
            return Err(path.error(Fault::BadSize, found.start).into());
        }
        let mut step = Step::On;
        match found.id {
            TIMESTAMP => {
                let data = source.get(found.body..end.min(found.body + 8), path)?;
                let ticks = data.iter().fold(0, |v, b| v << 8 | u64::from(*b)).min(1 << 40);
                cluster.ticks = ticks;
                self.entered = Some(((ticks as i64).saturating_mul(self.scale as i64), cluster.start));
            }
            SIMPLE_BLOCK => step = Step::Block(block(source, found, end, cluster.ticks, path)?),
            BLOCK_GROUP => {
                if let Some(block) = group(source, found, end, cluster.ticks, path)? {
                    step = Step::Block(block);
                }
            }
            _ => {}
        }
        self.at = end;
        Ok(step)
    }
}

enum Step {
    On,
    Block(Block),
    End,
}

/// A Block or SimpleBlock header (§10.1, §10.2).
fn block(source: &Source, found: Element, end: u64, cluster: u64, path: Path) -> Result<Block, Stop> {
    let bad = |fault| Stop::Broken(path.error(fault, found.start));
    if end - found.body > BLOCK_MAX {
        return Err(bad(Fault::TooLarge));
    }
    let head = source.peek(found.body, 12.min(end - found.body), end - found.body)?;
    let (track, len) = vint(&head).ok_or_else(|| bad(Fault::BadValue))?;
    let (Some(track), Some(&[high, low, flags])) = (track, head.get(len..len + 3).and_then(|b| b.first_chunk())) else {
        return Err(bad(Fault::Truncated));
    };
    let body = found.body + len as u64 + 3;
    if body > end {
        return Err(bad(Fault::Truncated));
    }
    Ok(Block {
        track,
        ticks: cluster as i64 + i64::from(i16::from_be_bytes([high, low])),
        sync: flags & 0x80 != 0,
        duration: None,
        lacing: flags >> 1 & 3,
        body,
        end,
        path,
    })
}

/// A BlockGroup: it is a key frame unless it refers to another block.
fn group(source: &Source, found: Element, end: u64, cluster: u64, path: Path) -> Result<Option<Block>, Stop> {
    let (mut at, mut out, mut duration, mut sync) = (found.body, None, None, true);
    while let Some(inner) = element(source, at, end, (end - at).min(BLOCK_MAX))? {
        let inner_end = inner.end.filter(|e| *e <= end);
        let inner_end = inner_end.ok_or_else(|| path.child(inner.id).error(Fault::BadSize, inner.start))?;
        match inner.id {
            BLOCK => out = Some(block(source, inner, inner_end, cluster, path.child(BLOCK))?),
            BLOCK_DURATION => {
                let data = source.get(inner.body..inner_end.min(inner.body + 8), path.child(BLOCK_DURATION))?;
                duration = Some(data.iter().fold(0, |v, b| v << 8 | u64::from(*b)).min(1 << 40));
            }
            REFERENCE_BLOCK => sync = false,
            _ => {}
        }
        at = inner_end;
    }
    Ok(out.map(|block| Block { sync, duration, ..block }))
}

/// The first cluster in `from..to`: its id, a size, and as its first child something that clusters begin with.
pub(super) fn find_cluster(source: &Source, from: u64, to: u64) -> Result<Option<u64>, Stop> {
    let mut at = from;
    while at < to {
        let window = source.peek(at, SCAN + 32, SCAN + 32)?;
        let hit = (0..window.len()).find(|&i| {
            let rest = &window[i..];
            let Some((CLUSTER, _, len)) = (rest[0] == 0x1f).then(|| header(rest)).flatten() else { return false };
            // Timestamp, CRC-32, Void, Position, PrevSize.
            rest.get(len).is_some_and(|first| matches!(first, 0xe7 | 0xbf | 0xec | 0xa7 | 0xab))
        });
        match hit.filter(|hit| at + (*hit as u64) < to) {
            Some(hit) => return Ok(Some(at + hit as u64)),
            None => at += SCAN,
        }
    }
    Ok(None)
}

/// The time of the cluster at `at`, in ticks.
pub(super) fn cluster_ticks(source: &Source, at: u64, limit: u64) -> Result<Option<u64>, Stop> {
    let Some(cluster) = element(source, at, limit, AHEAD)?.filter(|e| e.id == CLUSTER) else { return Ok(None) };
    let mut at = cluster.body;
    // CRC-32 and the like come before it, nothing large.
    for _ in 0..4 {
        let Some(found) = element(source, at, limit, AHEAD)? else { break };
        let Some(end) = found.end.filter(|end| *end <= limit) else { break };
        if found.id == TIMESTAMP {
            let data = source.get(found.body..end.min(found.body + 8), Path::root().child(CLUSTER).child(TIMESTAMP))?;
            return Ok(Some(data.iter().fold(0, |v, b| v << 8 | u64::from(*b)).min(1 << 40)));
        }
        at = end;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lacing_gives_back_its_sizes() {
        let xiph: Vec<u8> = [2u8, 255, 45, 10].into_iter().chain(vec![0; 300 + 10 + 5]).collect();
        assert_eq!(lace(1, &xiph), Some((vec![300, 10, 5], 4)));
        let fixed: Vec<u8> = [2u8].into_iter().chain(vec![0; 30]).collect();
        assert_eq!(lace(2, &fixed), Some((vec![10, 10, 10], 1)));
        // 800, 500 (-300), 1000: RFC 9559 §10.3.3's example.
        let ebml: Vec<u8> = [2u8, 0x43, 0x20, 0x5e, 0xd3].into_iter().chain(vec![0; 800 + 500 + 1000]).collect();
        assert_eq!(lace(3, &ebml), Some((vec![800, 500, 1000], 5)));
        assert_eq!(lace(1, &[5, 255, 255]), None);
        assert_eq!(lace(2, &[1, 0, 0, 0]), None);
        assert_eq!(lace(3, &[]), None);
    }
}
