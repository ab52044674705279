//! What waits for one client.
//!
//! Invariant: no more than the limit in all, and no more than its share from one sender; `waiting` counts what `frames` holds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use baton_signal_protocol::PeerId;
use bytes::Bytes;
use tokio::sync::Notify;

/// Frames from others, in order of arrival.
pub struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    frames_max: usize,
    per_sender_max: usize,
}

/// It holds as much as it may, from this sender or in all.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Default)]
struct State {
    frames: VecDeque<(PeerId, Bytes)>,
    waiting: HashMap<PeerId, usize>,
}

impl Queue {
    pub fn new(frames_max: usize, per_sender_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            frames_max,
            per_sender_max,
        }
    }

    pub fn push(&self, from: PeerId, frame: Bytes) -> Result<(), Full> {
        let mut state = self.lock();
        let waiting = state.waiting.get(&from).copied().unwrap_or(0);
        if state.frames.len() >= self.frames_max || waiting >= self.per_sender_max {
            return Err(Full);
        }
        state.waiting.insert(from, waiting + 1);
        state.frames.push_back((from, frame));
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// All that waits; none if nothing does.
    pub fn take(&self) -> Vec<Bytes> {
        let state = std::mem::take(&mut *self.lock());
        state.frames.into_iter().map(|(_, frame)| frame).collect()
    }

    /// Waits for frames. For one waiter; safe to drop and call again.
    pub async fn frames(&self) -> Vec<Bytes> {
        loop {
            let frames = self.take();
            if !frames.is_empty() {
                return frames;
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

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Bytes = Bytes::from_static(b"x");

    #[test]
    fn one_sender_fills_its_share_and_all_together_fill_the_queue() {
        let queue = Queue::new(3, 2);
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        assert_eq!(
            [queue.push(a, FRAME), queue.push(a, FRAME)],
            [Ok(()), Ok(())]
        );
        assert_eq!(queue.push(a, FRAME), Err(Full));
        assert_eq!(queue.push(b, FRAME), Ok(()));
        assert_eq!(queue.push(c, FRAME), Err(Full));
        assert_eq!(queue.take().len(), 3);
        assert_eq!(queue.push(a, FRAME), Ok(()));
        assert!(queue.lock().waiting.len() == 1, "nothing is left behind");
    }

    #[tokio::test]
    async fn who_waits_gets_all_that_came_in_order() {
        let queue = Queue::new(9, 9);
        let push = async {
            for text in ["1", "2"] {
                queue
                    .push([1; 32], Bytes::from_static(text.as_bytes()))
                    .unwrap();
            }
        };
        let (frames, ()) = tokio::join!(queue.frames(), push);
        assert_eq!(frames, ["1", "2"]);
    }
}
