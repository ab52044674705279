//! What came from all connections of a session and waits for its engine.
//!
//! A connection goes on reading while the engine is busy or waits for the disk: the `webrtc` crate's SCTP never says by itself that
//! a receive window that was shut is open again, and its sender asks after 1, 2, 4… seconds. What honest peers have under way is
//! bounded all the same, by what the engine asked them for and by what it has acknowledged.

use crate::link::LinkEvent;
use baton_swarm::ConnId;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Where the connections of one session put what happens.
#[derive(Clone)]
pub struct Inbox {
    events: mpsc::UnboundedSender<(ConnId, LinkEvent)>,
    room: Arc<Semaphore>,
}

/// One connection's way into it.
#[derive(Clone)]
pub struct Entrance {
    conn: ConnId,
    inbox: Inbox,
    room: Arc<Semaphore>,
}

/// What a message holds of the inbox until the engine has taken it.
#[derive(Debug)]
pub struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Why a message found no room.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    #[error("it sends more than it was asked for")]
    Unasked,
    #[error("the session has ended")]
    Ended,
}

impl Inbox {
    /// An inbox and what comes out of it.
    pub fn new() -> (Inbox, mpsc::UnboundedReceiver<(ConnId, LinkEvent)>) {
        Inbox::with_room(ROOM_BYTES)
    }

    /// The same, with room for so much from all connections together.
    pub fn with_room(bytes: usize) -> (Inbox, mpsc::UnboundedReceiver<(ConnId, LinkEvent)>) {
        let (events, out) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(bytes));
        (Inbox { events, room }, out)
    }

    /// A way in for one more connection.
    pub fn entrance(&self, conn: ConnId) -> Entrance {
        Entrance {
            conn,
            inbox: self.clone(),
            room: Arc::new(Semaphore::new(CONNECTION_BYTES)),
        }
    }
}

impl Entrance {
    /// Says what happened; false when nobody listens any more.
    pub fn tell(&self, event: LinkEvent) -> bool {
        self.inbox.events.send((self.conn, event)).is_ok()
    }

    /// Room for one message of so many bytes.
    ///
    /// Waits while the inbox is full of what others sent, and is refused to a connection that fills its own part.
    pub async fn room(&self, bytes: usize) -> Result<Room, NoRoom> {
        // A channel's message is at most 64 KiB here, so this never saturates.
        let size = u32::try_from(bytes + MESSAGE_BYTES).unwrap_or(u32::MAX);
        let own = self.room.clone().try_acquire_many_owned(size);
        let own = own.map_err(|_| NoRoom::Unasked)?;
        let all = self.inbox.room.clone().acquire_many_owned(size).await;
        let all = all.map_err(|_| NoRoom::Ended)?;
        Ok(Room {
            _own: own,
            _all: all,
        })
    }
}

/// What one connection may have waiting: twice the 8 MiB that the engine asks one peer for at most (`request_window_max_bytes`).
const CONNECTION_BYTES: usize = 16 << 20;
/// What all may have waiting together: half a second, which is what windows are sized by, at 128 MiB/s.
const ROOM_BYTES: usize = 64 << 20;
/// What a message costs beside its bytes, so that many empty ones fill it too.
const MESSAGE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tokio::sync::oneshot::error::TryRecvError;

    #[tokio::test]
    async fn who_sends_more_than_was_asked_for_is_refused_room_and_others_are_not() {
        let (inbox, _out) = Inbox::new();
        let (greedy, other) = (inbox.entrance(ConnId(1)), inbox.entrance(ConnId(2)));
        let mut held = Vec::new();
        let refused = loop {
            match greedy.room(60_000).await {
                Ok(room) => held.push(room),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, NoRoom::Unasked));
        assert!(
            held.len() * 60_000 > CONNECTION_BYTES / 2,
            "as much as an honest one may"
        );
        assert!(held.len() * 60_000 <= CONNECTION_BYTES);
        assert!(other.room(60_000).await.is_ok());
        held.pop();
        assert!(
            greedy.room(60_000).await.is_ok(),
            "what was taken in makes room"
        );
    }

    #[tokio::test]
    async fn empty_messages_fill_it_too() {
        let (inbox, _out) = Inbox::new();
        let greedy = inbox.entrance(ConnId(1));
        let mut held = Vec::new();
        while let Ok(room) = greedy.room(0).await {
            held.push(room);
        }
        assert_eq!(held.len(), CONNECTION_BYTES / MESSAGE_BYTES);
    }

    #[tokio::test]
    async fn all_together_wait_until_the_engine_has_taken_something() {
        let (inbox, mut out) = Inbox::with_room(2 * (60_000 + MESSAGE_BYTES));
        for conn in [1, 2] {
            let entrance = inbox.entrance(ConnId(conn));
            let room = entrance.room(60_000).await.expect("there is room");
            let message = LinkEvent::Received(baton_swarm::Channel::Data, Bytes::new(), room);
            assert!(entrance.tell(message));
        }
        let third = inbox.entrance(ConnId(3));
        let (told, mut has) = tokio::sync::oneshot::channel();
        let waits = tokio::spawn(async move { told.send(third.room(60_000).await.is_ok()) });
        tokio::task::yield_now().await;
        assert_eq!(has.try_recv(), Err(TryRecvError::Empty));
        drop(out.recv().await);
        assert_eq!(has.await, Ok(true));
        let _ = waits.await;
    }
}
