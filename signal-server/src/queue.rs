//! What waits for one client.
//!
//! Invariant: no more than the limit in all, and no more than its share from one sender; `waiting` counts what `frames` holds.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use baton_signal_protocol::PeerId;
use bytes::Bytes;
use tokio::sync::Notify;

/// Frames from others, in order of arrival.
pub struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    blobs: Share,
    budget: Arc<Budget>,
}

/// Bytes that may wait for all clients together: many slow ones must not fill the memory.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    taken: AtomicUsize,
}

/// Frames on their way to the client; what they take of the budget is given back on drop.
pub struct Taken {
    pub frames: Vec<Bytes>,
    cost: usize,
    budget: Arc<Budget>,
}

/// What a frame is; each kind has its own limits, so that carried films leave room for offers and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    Blob,
    Carried,
}

/// How many frames of one kind may wait.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub in_all: usize,
    pub per_sender: usize,
}

/// It holds as much as it may, from this sender or in all.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Default)]
struct State {
    frames: VecDeque<(PeerId, Load, Bytes)>,
    waiting: HashMap<(PeerId, Load), usize>,
    in_all: [usize; 2],
}

impl Queue {
    pub fn new(blobs: Share, budget: Arc<Budget>) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            blobs,
            budget,
        }
    }

    pub fn push(&self, from: PeerId, load: Load, frame: Bytes) -> Result<(), Full> {
        let share = match load {
            Load::Blob => self.blobs,
            Load::Carried => CARRIED,
        };
        let mut state = self.lock();
        let waiting = state.waiting.get(&(from, load)).copied().unwrap_or(0);
        if state.in_all[load as usize] >= share.in_all || waiting >= share.per_sender {
            return Err(Full);
        }
        self.budget.take(cost(&frame))?;
        state.waiting.insert((from, load), waiting + 1);
        state.in_all[load as usize] += 1;
        state.frames.push_back((from, load, frame));
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The first of what waits, as much as a slow line takes in a few seconds; none if nothing waits.
    pub fn take(&self) -> Taken {
        let mut state = self.lock();
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < TAKE_BYTES
            && let Some((from, load, frame)) = state.frames.pop_front()
        {
            state.forget(from, load);
            bytes += frame.len();
            frames.push(frame);
        }
        if state.frames.is_empty() {
            // An idle client holds nothing.
            *state = State::default();
        }
        Taken {
            cost: frames.iter().map(cost).sum(),
            frames,
            budget: self.budget.clone(),
        }
    }

    /// Waits for frames. For one waiter; safe to drop and call again.
    pub async fn frames(&self) -> Taken {
        loop {
            let taken = self.take();
            if !taken.frames.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding a queue")
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let left = self.lock().frames.iter().map(|(_, _, it)| cost(it)).sum();
        self.budget.give_back(left);
    }
}

impl Budget {
    pub fn new(max: usize) -> Arc<Self> {
        let taken = AtomicUsize::new(0);
        Arc::new(Self { max, taken })
    }

    fn take(&self, cost: usize) -> Result<(), Full> {
        let fits = |taken: usize| taken.checked_add(cost).filter(|sum| *sum <= self.max);
        let (order, order_failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let taken = self.taken.fetch_update(order, order_failed, fits);
        taken.map(drop).map_err(|_| Full)
    }

    fn give_back(&self, cost: usize) {
        self.taken.fetch_sub(cost, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.give_back(self.cost);
    }
}

/// A frame's bytes, and what it takes to know whose it is.
fn cost(frame: &Bytes) -> usize {
    frame.len() + 128
}

impl State {
    fn forget(&mut self, from: PeerId, load: Load) {
        self.in_all[load as usize] -= 1;
        let count = self
            .waiting
            .get_mut(&(from, load))
            .expect("what waits is counted");
        *count -= 1;
        if *count == 0 {
            self.waiting.remove(&(from, load));
        }
    }
}

/// Frames of carried connections (16 KiB each) that wait for a client: four peers' windows of 16 and what they say about ours.
const CARRIED: Share = Share {
    in_all: 96,
    per_sender: 24,
};
/// Bytes of one write, which a client must take within --send-timeout: 7 KB per second are enough.
const TAKE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Bytes = Bytes::from_static(b"x");

    fn queue(in_all: usize, per_sender: usize) -> Queue {
        Queue::new(Share { in_all, per_sender }, Budget::new(1 << 24))
    }

    #[test]
    fn many_queues_hold_no_more_than_what_all_may_and_give_it_back() {
        let budget = Budget::new(3 * cost(&FRAME));
        let share = Share {
            in_all: 9,
            per_sender: 9,
        };
        let queues = [(); 2].map(|()| Queue::new(share, budget.clone()));
        let push = |at: usize| queues[at].push([1; 32], Load::Blob, FRAME);
        assert_eq!(
            [push(0), push(0), push(1), push(1)],
            [Ok(()), Ok(()), Ok(()), Err(Full)]
        );
        let taken = queues[0].take();
        assert_eq!(push(1), Err(Full), "what is being written still waits");
        drop(taken);
        assert_eq!(push(1), Ok(()));
        drop(queues);
        assert_eq!(budget.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_sender_fills_its_share_and_all_together_fill_the_queue() {
        let queue = queue(3, 2);
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        assert_eq!(
            [
                queue.push(a, Load::Blob, FRAME),
                queue.push(a, Load::Blob, FRAME)
            ],
            [Ok(()), Ok(())]
        );
        assert_eq!(queue.push(a, Load::Blob, FRAME), Err(Full));
        assert_eq!(queue.push(b, Load::Blob, FRAME), Ok(()));
        assert_eq!(queue.push(c, Load::Blob, FRAME), Err(Full));
        assert_eq!(queue.take().frames.len(), 3);
        assert_eq!(queue.push(a, Load::Blob, FRAME), Ok(()));
        assert!(queue.lock().waiting.len() == 1, "nothing is left behind");
    }

    #[tokio::test]
    async fn who_waits_gets_all_that_came_in_order() {
        let queue = queue(9, 9);
        let push = async {
            for text in ["1", "2"] {
                queue
                    .push([1; 32], Load::Blob, Bytes::from_static(text.as_bytes()))
                    .unwrap();
            }
        };
        let (taken, ()) = tokio::join!(queue.frames(), push);
        assert_eq!(taken.frames, ["1", "2"]);
    }

    #[test]
    fn what_is_carried_takes_no_place_of_blobs_and_has_its_own_limit() {
        let queue = queue(1, 1);
        let long = Bytes::from(vec![0; 16 * 1024]);
        for _ in 0..CARRIED.per_sender {
            assert_eq!(queue.push([1; 32], Load::Carried, long.clone()), Ok(()));
        }
        assert_eq!(queue.push([1; 32], Load::Carried, long.clone()), Err(Full));
        assert_eq!(queue.push([1; 32], Load::Blob, FRAME), Ok(()));
        for from in 2..5 {
            for _ in 0..CARRIED.per_sender {
                assert_eq!(queue.push([from; 32], Load::Carried, long.clone()), Ok(()));
            }
        }
        assert_eq!(queue.push([9; 32], Load::Carried, long), Err(Full));
        assert_eq!(
            queue.take().frames.len(),
            4,
            "one write is no longer than a slow line takes"
        );
        let mut rest = 0;
        while let taken = queue.take()
            && !taken.frames.is_empty()
        {
            rest += taken.frames.len();
        }
        assert_eq!(rest, CARRIED.in_all + 1 - 4);
        assert_eq!(queue.lock().in_all, [0, 0]);
    }
}
