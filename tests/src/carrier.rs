//! Peers whose connections the server carries (`--relay`).

use baton_signal_protocol::blob::{self, Route, Signal};
use baton_signal_protocol::carriage::{Chance, Us};
use baton_signal_protocol::*;
use baton_signal_server::Running;

use crate::signalling::{Client, Identity};

/// Joins and hears that the server carries.
pub async fn join(server: &Running, identity: &Identity) -> Client {
    let mut client = Client::join(server.address(), identity).await.0;
    let carries = client.hear().await;
    assert!(
        matches!(carries, ServerMessage::Carries { .. }),
        "{carries:?}"
    );
    client
}

pub async fn carry(client: &mut Client, to: PeerId, frame: &[u8]) {
    let frame = frame.to_vec();
    client.say(&ClientMessage::Carry { to, frame }).await;
}

/// A peer that has its connections carried, on a real socket.
pub struct Carrier {
    pub client: Client,
    pub identity: Identity,
    carriage: Carriage,
    next: u8,
    received: Vec<Vec<u8>>,
    open: Option<u64>,
}

impl Carrier {
    pub async fn join(server: &Running, peer: u8) -> Self {
        let identity = Identity::new(1, peer);
        let mut carriage = Carriage::new(Us {
            swarm: identity.swarm_id(),
            signalling_key: [9; 32],
            peer_seed: [peer; 32],
            peer: identity.peer_id(),
        });
        carriage.allow();
        Self {
            client: join(server, &identity).await,
            identity,
            carriage,
            next: 0,
            received: Vec::new(),
            open: None,
        }
    }

    fn chance(&mut self) -> Chance {
        self.next += 1;
        let n = self.identity.peer_id()[0] ^ self.next;
        Chance {
            session_nonce: [n; 16],
            secret: [n; 32],
            blob_nonce: [n; 24],
        }
    }

    async fn act(&mut self, events: Vec<CarriageEvent>) {
        for event in events {
            match event {
                CarriageEvent::Signal { to, blob } => self.client.relay(to, &blob).await,
                CarriageEvent::Frame { to, frame } => carry(&mut self.client, to, &frame).await,
                CarriageEvent::Connected(it) => self.open = Some(it.conn),
                CarriageEvent::Received { bytes, .. } => self.received.push(bytes),
                CarriageEvent::Credit { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn handle(&mut self, message: ServerMessage) {
        let events = match message {
            ServerMessage::Relay { from, blob } => self.signal(from, &blob),
            ServerMessage::Carried { from, frame } => self.carriage.handle_frame(from, &frame),
            other => panic!("{other:?}"),
        };
        self.act(events).await;
    }

    fn signal(&mut self, from: PeerId, bytes: &[u8]) -> Vec<CarriageEvent> {
        let route = Route {
            swarm: self.identity.swarm_id(),
            from,
            to: self.identity.peer_id(),
        };
        let session = self.carriage.offer_nonce(&from);
        let signal = blob::open(&route, &[9; 32], session.as_ref(), bytes);
        match signal.expect("sealed by the other") {
            Signal::CarryOffer(offer) => {
                assert!(self.carriage.would_take(from, &offer));
                let chance = self.chance();
                self.carriage.offered(from, offer, 1, &chance)
            }
            Signal::CarryAnswer { terms, .. } => self.carriage.answered(from, terms),
            other => panic!("{other:?}"),
        }
    }
}

/// Two who have met connect, and twenty messages of 49 KB go each way.
///
/// # Panics
/// When one is missing, changed, or in the wrong place.
pub async fn carried_both_ways(alice: &mut Carrier, bob: &mut Carrier) {
    let chance = alice.chance();
    let asked = alice.carriage.ask(bob.identity.peer_id(), 1, &chance, 0);
    alice.act(asked).await;
    while alice.open.is_none() || bob.open.is_none() {
        turn(alice, bob).await;
    }
    let messages: Vec<Vec<u8>> = (0..20).map(|n| vec![n; 49_000]).collect();
    for message in &messages {
        for side in [&mut *alice, &mut *bob] {
            let events = side.carriage.send(1, 1, message.clone());
            side.act(events).await;
        }
    }
    while alice.received.len() < messages.len() || bob.received.len() < messages.len() {
        turn(alice, bob).await;
    }
    assert_eq!(alice.received, messages);
    assert_eq!(bob.received, messages);
}

/// Whoever hears something first deals with it.
async fn turn(alice: &mut Carrier, bob: &mut Carrier) {
    tokio::select! {
        message = alice.client.hear() => alice.handle(message).await,
        message = bob.client.hear() => bob.handle(message).await,
    }
}
