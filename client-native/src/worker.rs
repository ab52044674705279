//! The disk's thread of one session: does what the engine wants done with files, in order, and answers.

use baton_content::{Header, Mask, PeerId, PieceId};
use baton_swarm::{Event, Input, Output, Reason};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Done by the side itself.
pub type OwnJob = Box<dyn FnOnce(&mut dyn Side) -> Vec<Input> + Send>;

/// What the thread is told.
pub enum Job {
    /// `Seal`, `Store` and `Deliver`; bounded by the engine's own windows.
    Act(Output),
    /// What is left of a `Load` when its turn comes.
    Load(Ticket),
    /// A head to persist, completeness, the end.
    Event(Event),
    /// Something of the side's own: what its helper threads found, or a wish of another session's.
    Own(OwnJob),
    /// Nothing more comes.
    Stop,
}

/// What it answers.
pub enum Answer {
    Inputs(Vec<Input>),
    News(News),
}

/// What a session tells whoever started it.
#[derive(Clone, Debug)]
pub enum News {
    /// The manifest is known, or there is a newer one.
    Manifest,
    /// Everything is here and verified, and the files have their names.
    Finished,
    /// How far the plain hash of a publisher's files is, bytes.
    Hashed { bytes: u64 },
    /// A neighbour went: what it said, or why it was sent away; `None` for a connection that was lost.
    Left {
        peer: PeerId,
        reason: Option<Reason>,
    },
    /// It cannot go on.
    Problem(Problem),
}

/// Why a session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0} changed while it was being shared")]
    FileChanged(String),
    #[error("cannot read {0}")]
    FileUnreadable(String),
    #[error("cannot write: {0}")]
    CannotWrite(String),
    #[error("this link does not open the stream any more")]
    NotOpened,
    #[error("the manifest is broken")]
    BadManifest,
    #[error("{0} does not have the BLAKE3 that its publisher named")]
    WrongHash(String),
    #[error("the publisher signed two different truths")]
    Fraud,
    #[error("its manifests are longer than a stream's may be")]
    ManifestTooLong,
    #[error("the stream has expired")]
    Expired,
    #[error("the server refused: {0:?}")]
    Refused(baton_signal_protocol::Refusal),
}

/// A publisher's, viewer's or keeper's files.
pub trait Side: Send {
    /// Does one thing that the engine wants.
    fn act(&mut self, output: Output) -> Vec<Input>;
    /// Takes in news of the engine's.
    fn event(&mut self, event: Event) -> Vec<Input>;
    /// Pieces whose headers this side gives from now on whenever it is asked (`Output::LoadHeader`), told once.
    fn take_kept(&mut self) -> Vec<PieceId>;
    /// Nothing to do for a moment: write out what was only noted.
    fn idle(&mut self) {}
    /// For jobs that are the side's own.
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}

/// A load in the queue, by its piece and its number.
pub type Ticket = (PieceId, u64);

/// Loads that wait for the disk: what nobody needs any more is not read.
#[derive(Default)]
struct Loads {
    next: u64,
    waiting: BTreeMap<Ticket, Mask>,
}

/// Where a session's jobs go.
#[derive(Clone)]
pub struct Worker {
    jobs: Sender<Job>,
    stores: Arc<AtomicUsize>,
    loads: Arc<Mutex<Loads>>,
}

#[cfg(test)]
impl Jobs {
    /// The wishes in the queue, for tests that have no thread.
    pub fn own_jobs(&self) -> Vec<OwnJob> {
        let own = |job| match job {
            Job::Own(job) => Some(job),
            _ => None,
        };
        self.inbox.try_iter().filter_map(own).collect()
    }
}

/// The other end.
pub struct Jobs {
    inbox: Receiver<Job>,
    stores: Arc<AtomicUsize>,
    loads: Arc<Mutex<Loads>>,
}

impl Worker {
    /// So many blocks wait for the disk that no more should be taken off the network.
    pub fn is_full(&self) -> bool {
        self.stores.load(Ordering::Relaxed) >= STORES_MAX
    }

    pub fn send(&self, job: Job) {
        if matches!(job, Job::Act(Output::Store { .. })) {
            self.stores.fetch_add(1, Ordering::Relaxed);
        }
        // A thread that has ended takes no more jobs, and its session is ending too.
        let _ = self.jobs.send(job);
    }

    /// Queues the reading of blocks of a piece.
    pub fn load(&self, piece: PieceId, mask: Mask) {
        let mut loads = lock(&self.loads);
        let ticket = (piece, loads.next);
        loads.next += 1;
        loads.waiting.insert(ticket, mask);
        drop(loads);
        self.send(Job::Load(ticket));
    }

    /// Nobody needs these blocks any more: what was queued for them until now is not read, and not answered.
    pub fn cancel_load(&self, piece: PieceId, mask: Mask) {
        let mut loads = lock(&self.loads);
        for (_, waiting) in loads.waiting.range_mut((piece, 0)..=(piece, u64::MAX)) {
            *waiting = waiting.without(mask);
        }
    }

    /// A job for a side of a known type.
    pub fn own<S: Side + 'static>(&self, job: impl FnOnce(&mut S) -> Vec<Input> + Send + 'static) {
        self.send(Job::Own(Box::new(move |side| {
            match side.as_any().downcast_mut::<S>() {
                Some(side) => job(side),
                None => Vec::new(),
            }
        })));
    }
}

/// Makes the queue first: a side may want to hand its end to helpers before the thread runs.
pub fn queue() -> (Worker, Jobs) {
    let (jobs, inbox) = channel();
    let stores = Arc::new(AtomicUsize::new(0));
    let loads = Arc::<Mutex<Loads>>::default();
    let worker = Worker {
        jobs,
        stores: stores.clone(),
        loads: loads.clone(),
    };
    let jobs = Jobs {
        inbox,
        stores,
        loads,
    };
    (worker, jobs)
}

fn lock(loads: &Mutex<Loads>) -> MutexGuard<'_, Loads> {
    // Each change is one insertion: a panic elsewhere leaves nothing half done.
    loads.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread.
pub fn spawn(
    mut side: Box<dyn Side>,
    jobs: Jobs,
    answers: UnboundedSender<Answer>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            let job = match jobs.inbox.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    side.idle();
                    match jobs.inbox.recv() {
                        Ok(job) => job,
                        Err(_) => break,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut inputs = match job {
                Job::Act(output) => {
                    if matches!(output, Output::Store { .. }) {
                        jobs.stores.fetch_sub(1, Ordering::Relaxed);
                    }
                    side.act(output)
                }
                Job::Load(ticket) => match lock(&jobs.loads).waiting.remove(&ticket) {
                    Some(mask) if !mask.is_empty() => side.act(Output::Load {
                        piece: ticket.0,
                        mask,
                    }),
                    _ => Vec::new(),
                },
                Job::Event(event) => side.event(event),
                Job::Own(job) => job(&mut *side),
                Job::Stop => break,
            };
            let kept = side.take_kept().into_iter();
            inputs.extend(kept.map(|piece| Input::HeaderKept { piece }));
            if !inputs.is_empty() && answers.send(Answer::Inputs(inputs)).is_err() {
                break;
            }
        }
        side.idle();
    })
}

/// Reads the sealed bytes from the first to the last block of `mask` in one go and verifies each.
///
/// `read` fills the bytes from an offset in the piece on, sealed. What does not verify is no longer had.
pub fn load(
    header: &Header,
    mask: Mask,
    read: impl FnOnce(usize, &mut [u8]) -> std::io::Result<()>,
) -> (Vec<Input>, Mask) {
    let piece = header.id();
    let mask = mask.and(header.full_mask());
    let (Some(first), Some(last)) = (mask.first(), mask.iter().last()) else {
        return (Vec::new(), Mask::EMPTY);
    };
    let start = usize::from(first.0) * baton_content::BLOCK_LEN;
    let end = usize::from(last.0) * baton_content::BLOCK_LEN + header.block_len(last);
    let mut bytes = vec![0; end.saturating_sub(start)];
    if read(start, &mut bytes).is_err() {
        return (vec![Input::LoadFailed { piece, mask }], mask);
    }
    let bytes = bytes::Bytes::from(bytes);
    let mut inputs = Vec::with_capacity(mask.count());
    let mut bad = Mask::EMPTY;
    for block in mask.iter() {
        let from = usize::from(block.0) * baton_content::BLOCK_LEN - start;
        match header.verify(block, bytes.slice(from..from + header.block_len(block))) {
            Ok(block) => inputs.push(Input::Loaded { block }),
            Err(_) => bad.insert(block),
        }
    }
    if !bad.is_empty() {
        inputs.push(Input::LoadFailed { piece, mask: bad });
    }
    (inputs, bad)
}

/// The answer to `Output::LoadHeader`.
pub fn header_or_failed(piece: PieceId, header: Option<Header>) -> Vec<Input> {
    vec![match header {
        Some(header) => Input::HeaderLoaded { header },
        None => Input::HeaderFailed { piece },
    }]
}

/// Says that none of these can be loaded.
pub fn load_failed(piece: PieceId, mask: Mask) -> Vec<Input> {
    vec![Input::LoadFailed { piece, mask }]
}

/// Blocks that may wait for the disk: 32 MiB. Behind them the network waits.
const STORES_MAX: usize = 2048;
/// A queue that was empty for so long is idle.
const IDLE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::{BlockIndex, DATA_LANE};

    /// Says what it was told to read.
    struct Disk(Sender<(PieceId, Mask)>);

    impl Side for Disk {
        fn act(&mut self, output: Output) -> Vec<Input> {
            if let Output::Load { piece, mask } = output {
                let _ = self.0.send((piece, mask));
            }
            Vec::new()
        }

        fn event(&mut self, _: Event) -> Vec<Input> {
            Vec::new()
        }

        fn take_kept(&mut self) -> Vec<PieceId> {
            Vec::new()
        }

        fn as_any(&mut self) -> &mut dyn std::any::Any {
            self
        }
    }

    #[test]
    fn what_nobody_needs_any_more_is_not_read_unless_it_is_asked_for_again() {
        let (worker, jobs) = queue();
        let (told, reads) = channel();
        let (answers, _) = tokio::sync::mpsc::unbounded_channel();
        let (one, two) = (PieceId::new(DATA_LANE, 1), PieceId::new(DATA_LANE, 2));
        let first = Mask::of(BlockIndex(0));
        let second = Mask::of(BlockIndex(1));
        worker.load(one, first.or(second));
        worker.load(two, first);
        worker.cancel_load(one, first);
        worker.cancel_load(two, first);
        worker.load(one, first);
        worker.send(Job::Stop);
        // Everything was queued before the disk took the first job.
        let thread = spawn(Box::new(Disk(told)), jobs, answers);
        thread.join().expect("it ends");
        let reads: Vec<_> = reads.try_iter().collect();
        assert_eq!(reads, [(one, second), (one, first)]);
    }
}
