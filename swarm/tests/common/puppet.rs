//! A peer played by the test: it says exactly what the test wants it to say.

use super::film::Film;
use baton_content::{PeerId, PeerKey};
use baton_swarm::wire::{Have, Hello, Message, Range, Signature, hello_statement};
use baton_swarm::{
    Binding, Channel, Config, ConnId, Event, Input, Instant, Output, Path, Reason, Role, Stream,
    Swarm,
};
use bytes::Bytes;

pub fn binding(n: u8) -> Binding {
    Binding {
        local_nonce: [n; 16],
        remote_nonce: [n + 1; 16],
        local_fingerprint: [n + 2; 32],
        remote_fingerprint: [n + 3; 32],
        offerer: false,
    }
}

/// The manifest and the first so many pieces of the film.
pub fn pieces(count: u32) -> Have {
    let range = |lane, count| Range {
        lane,
        first: 0,
        count,
    };
    Have {
        ranges: vec![range(0, 1), range(1, count)],
        parts: vec![],
    }
}

/// An engine under test and what it says to the puppets.
pub struct Stage {
    pub swarm: Swarm,
    pub film: Film,
    pub now: u64,
    pub said: Vec<Output>,
}

pub struct Puppet {
    pub key: PeerKey,
    pub conn: ConnId,
    pub binding: Binding,
}

impl Puppet {
    pub fn new(n: u8) -> Puppet {
        Puppet {
            key: PeerKey::from_seed([100 + n; 32]),
            conn: ConnId(u64::from(n)),
            binding: binding(n),
        }
    }

    pub fn id(&self) -> PeerId {
        self.key.id()
    }
}

impl Stage {
    pub fn new(film: Film, role: Role) -> Stage {
        let head = (role == Role::Publisher).then(|| film.head.clone());
        let stream = Stream {
            publisher: film.publisher.id(),
            swarm: film.swarm,
            head,
        };
        let swarm = Swarm::new(
            stream,
            Vec::new(),
            role,
            Config::default(),
            PeerKey::from_seed([50; 32]),
            1,
            Instant(0),
            0,
        );
        Stage {
            swarm,
            film,
            now: 0,
            said: Vec::new(),
        }
    }

    pub fn input(&mut self, input: Input) -> Vec<Output> {
        self.now += 1;
        self.swarm.handle_input(Instant(self.now), input);
        self.swarm.check_invariants();
        let outputs: Vec<Output> = std::iter::from_fn(|| self.swarm.poll_output()).collect();
        self.said.extend(outputs.iter().cloned());
        outputs
    }

    pub fn wait(&mut self, us: u64) -> Vec<Output> {
        self.now += us;
        self.input(Input::TimedOut)
    }

    pub fn connect(&mut self, puppet: &Puppet) -> Vec<Output> {
        let (conn, peer, binding) = (puppet.conn, puppet.id(), puppet.binding);
        self.input(Input::Connected {
            conn,
            peer,
            binding,
            path: Path::Direct,
        })
    }

    /// A Hello that proves what it should, with everything else at its simplest.
    pub fn good_hello(&self, puppet: &Puppet, have: Have) -> Hello {
        let me = PeerKey::from_seed([50; 32]).id();
        let statement = hello_statement(
            &self.film.swarm,
            &puppet.id(),
            &me,
            &puppet.binding.swapped(),
        );
        Hello {
            peer: puppet.id().0,
            signature: Signature::new(&puppet.key.sign(&statement)),
            features: 0,
            role: 1,
            head: Some(self.film.head.bytes().to_vec()),
            have,
            grant: 64,
            start_set: false,
        }
    }

    /// Connects and says a good Hello.
    pub fn join(&mut self, puppet: &Puppet, have: Have) -> Vec<Output> {
        self.connect(puppet);
        let hello = self.good_hello(puppet, have);
        let mut outputs = self.say(puppet, &Message::Hello(Box::new(hello)));
        outputs.extend(self.say(puppet, &Message::StartSet(Vec::new())));
        outputs
    }

    /// Answers all reads at once. The block messages that leave because of these outputs.
    pub fn read_and_sent(&mut self, mut todo: Vec<Output>) -> Vec<(ConnId, Bytes)> {
        let mut sent = Vec::new();
        while let Some(output) = todo.pop() {
            match output {
                Output::Load { piece, mask } => {
                    for block in mask.iter() {
                        let block = self.film.sealed(piece).block(block).expect("there");
                        todo.extend(self.input(Input::Loaded { block }));
                    }
                }
                Output::Send {
                    conn,
                    channel: Channel::Data,
                    bytes,
                } => sent.push((conn, bytes)),
                _ => {}
            }
        }
        sent
    }

    pub fn say(&mut self, puppet: &Puppet, message: &Message) -> Vec<Output> {
        self.raw(puppet, Channel::Control, message.encode())
    }

    pub fn raw(&mut self, puppet: &Puppet, channel: Channel, bytes: Bytes) -> Vec<Output> {
        self.input(Input::Received {
            conn: puppet.conn,
            channel,
            bytes,
        })
    }
}

/// Why the engine ended a connection, if it did.
pub fn dropped(outputs: &[Output], puppet: &Puppet) -> Option<Reason> {
    outputs.iter().find_map(|output| match output {
        Output::Disconnect { conn, reason } if *conn == puppet.conn => Some(*reason),
        _ => None,
    })
}

/// What was said to a puppet.
pub fn heard(outputs: &[Output], puppet: &Puppet) -> Vec<Message> {
    let to_it = |output: &Output| match output {
        Output::Send {
            conn,
            channel,
            bytes,
        } if *conn == puppet.conn => Some(
            Message::decode(bytes, *channel == Channel::Data)
                .expect("the engine speaks its own language"),
        ),
        _ => None,
    };
    outputs.iter().filter_map(to_it).collect()
}

pub fn refused(outputs: &[Output]) -> Vec<PeerId> {
    let of = |output: &Output| match output {
        Output::Event(Event::PeerRefused { peer, .. }) => Some(*peer),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}
