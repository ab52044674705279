//! Connections whose channels are in the worker: from their arrival to the engine's `Connected`, and what is sent on them.

use super::{Door, LINGER_MS, WorkerEvent};
use crate::bridge::{Binding, StreamNumber};
use crate::flow::Flow;
use baton_sorted::SortedMap;
use gloo_timers::callback::Timeout;
use std::rc::Rc;
use web_sys::RtcDataChannel;

/// The connections of one stream whose channels are here.
pub struct Carriers {
    stream: StreamNumber,
    door: Door,
    carriers: SortedMap<u64, Carrier>,
    /// Sent to in this turn.
    touched: Vec<u64>,
}

struct Carrier {
    flow: Rc<Flow>,
    /// Who is there; `None` until the page has both descriptions.
    agreed: Option<([u8; 32], Binding)>,
    connected: bool,
}

impl Carriers {
    pub fn new(stream: StreamNumber, door: Door) -> Carriers {
        Carriers {
            stream,
            door,
            carriers: SortedMap::new(),
            touched: Vec::new(),
        }
    }

    /// The page made a connection; nobody is at its other end yet.
    pub fn add(&mut self, conn: u64, control: RtcDataChannel, data: RtcDataChannel) {
        let (stream, door) = (self.stream, self.door.clone());
        let flow = Flow::new(control, data, move |news| {
            door.emit(WorkerEvent::Flow(stream, conn, news))
        });
        let carrier = Carrier {
            flow,
            agreed: None,
            connected: false,
        };
        self.carriers.insert(conn, carrier);
    }

    /// The page knows who is at the other end.
    pub fn agreed(&mut self, conn: u64, peer: [u8; 32], binding: Binding) {
        if let Some(carrier) = self.carriers.get_mut(&conn) {
            carrier.agreed = Some((peer, binding));
        }
    }

    /// Who is there, once: when both descriptions are known and both channels open.
    pub fn connected(&mut self, conn: u64) -> Option<([u8; 32], Binding)> {
        let carrier = self.carriers.get_mut(&conn)?;
        if carrier.connected || !carrier.flow.is_open() {
            return None;
        }
        let agreed = carrier.agreed.take()?;
        carrier.connected = true;
        Some(agreed)
    }

    /// The engine knows of the connection.
    pub fn announce(&self, conn: u64) {
        if let Some(carrier) = self.carriers.get(&conn) {
            carrier.flow.announce();
        }
    }

    /// Whether this connection's channels are here.
    pub fn has(&self, conn: u64) -> bool {
        self.carriers.contains_key(&conn)
    }

    /// Puts a message on a channel; `false` where it takes none any more.
    pub fn send(&mut self, conn: u64, channel: u32, bytes: &[u8]) -> bool {
        let Some(carrier) = self.carriers.get(&conn) else {
            return false;
        };
        if !self.touched.contains(&conn) {
            self.touched.push(conn);
        }
        carrier.flow.send_bytes(channel, bytes).is_ok()
    }

    /// After a turn's sends: how much more may come.
    pub fn report_credit(&mut self) {
        for conn in std::mem::take(&mut self.touched) {
            if let Some(carrier) = self.carriers.get(&conn) {
                carrier.flow.report_credit();
            }
        }
    }

    /// Hears nothing more of it. What was sent last still leaves: a channel that nothing holds may be collected before.
    pub fn remove(&mut self, conn: u64) {
        if let Some(carrier) = self.carriers.remove(&conn) {
            carrier.flow.forget();
            Timeout::new(LINGER_MS, move || drop(carrier)).forget();
        }
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        for carrier in self.carriers.values() {
            carrier.flow.forget();
        }
    }
}
