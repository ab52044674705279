//! The relay in virtual time, by a client that says what it is told to.

mod lines;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::credential::{Credential, Secret};
use super::filter::{self, tests::FORBIDDEN};
use super::relay::*;
use super::stun::{self, Class, Message, Writer, attribute, long_term_key, method};
use crate::metrics::Metrics;

const UNIX_S: u64 = 1_800_000_000;

/// A relay, its clock, and a network that opens whatever it asks for.
struct World {
    relays: Relays,
    secret: Secret,
    now: Instant,
    zero: Instant,
    next_port: u16,
    /// What left towards peers, and what clients heard.
    relayed: Vec<(RelayId, SocketAddr, Vec<u8>)>,
    heard: Vec<(Client, Vec<u8>)>,
    closed: usize,
}

fn world(change: impl FnOnce(&mut Settings)) -> World {
    let secret = Secret::new(Some("north"));
    let mut settings = Settings {
        secret: secret.clone(),
        public: "8.8.4.4".parse().unwrap(),
        allowed_peers: Vec::new(),
        is_ours: |address| address == IpAddr::from([9, 9, 9, 1]),
        allocations_per_user: 2,
        allocations_per_address: 3,
        allocations_max: 4,
        user_bytes_per_second: 10_000,
        address_bytes_per_second: 30_000,
        bytes_per_second: 50_000,
        log: crate::Config::local().log,
    };
    change(&mut settings);
    let zero = Instant::now();
    World {
        relays: Relays::new(settings, Arc::new(Metrics::new()), zero, UNIX_S),
        secret,
        now: zero,
        zero,
        next_port: 50_000,
        relayed: Vec::new(),
        heard: Vec::new(),
        closed: 0,
    }
}

impl World {
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.relays.handle_time(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let outputs = self.relays.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Answer { to, bytes } => self.heard.push((to, bytes)),
                    Output::Open(relay) => {
                        self.next_port += 1;
                        let at = SocketAddr::new(self.relays.public(), self.next_port);
                        self.relays.handle_opened(relay, Some(at));
                    }
                    Output::Relay { relay, to, bytes } => self.relayed.push((relay, to, bytes)),
                    Output::Close(_) => self.closed += 1,
                }
            }
        }
    }

    /// What the client hears on this.
    fn hears(&mut self, from: Client, raw: &[u8]) -> Option<Vec<u8>> {
        self.heard.clear();
        self.relays.handle_client(self.now, from, raw);
        self.settle();
        self.heard
            .pop()
            .filter(|(to, _)| *to == from)
            .map(|it| it.1)
    }

    /// A credential that is issued now.
    fn credential(&self, swarm: u8, peer: u8) -> Credential {
        let now = UNIX_S + (self.now - self.zero).as_secs();
        self.secret.issue(&[swarm; 32], &[peer; 32], now)
    }
}

/// A client with a credential, and the nonce that it was given last.
struct Caller {
    client: Client,
    credential: Credential,
    nonce: String,
    transaction: u8,
}

/// What came back: nothing, success, or an error's code.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Success(Option<SocketAddr>, Option<u32>),
    Error(u16),
}

const DONE: Said = Said::Success(None, None);

fn caller(address: &str, credential: Credential) -> Caller {
    Caller {
        client: Client {
            transport: Transport::Udp,
            address: address.parse().unwrap(),
        },
        credential,
        nonce: String::new(),
        transaction: 0,
    }
}

impl Caller {
    /// Asks, and once more with the nonce if it was not the right one, as clients do.
    fn ask(&mut self, world: &mut World, method: u16, fill: impl Fn(Writer) -> Writer) -> Said {
        let first = self.ask_once(world, method, &fill);
        match first {
            Said::Error(401 | 438) => self.ask_once(world, method, &fill),
            other => other,
        }
    }

    fn ask_once(
        &mut self,
        world: &mut World,
        method: u16,
        fill: &impl Fn(Writer) -> Writer,
    ) -> Said {
        self.transaction = self.transaction.wrapping_add(1);
        let raw = self.request(method, fill);
        let Some(answer) = world.hears(self.client, &raw) else {
            return Said::Nothing;
        };
        let message = Message::read(&answer).expect("it speaks STUN");
        assert_eq!(message.transaction(), [self.transaction; 12]);
        if let Some(nonce) = message.text(attribute::NONCE) {
            self.nonce = nonce.to_owned();
        }
        match message.class {
            Class::Success => {
                assert!(message.is_signed_with(&self.key()));
                let relayed = message.get(attribute::XOR_RELAYED_ADDRESS);
                let relayed =
                    relayed.map(|value| stun::read_address(value, &message.transaction()));
                Said::Success(relayed.flatten(), message.number(attribute::LIFETIME))
            }
            Class::Error => {
                let code = message.get(attribute::ERROR_CODE).expect("a code");
                Said::Error(u16::from(code[2]) * 100 + u16::from(code[3]))
            }
            other => panic!("{other:?}"),
        }
    }

    fn request(&self, method: u16, fill: impl Fn(Writer) -> Writer) -> Vec<u8> {
        let writer = fill(Writer::new(Class::Request, method, &[self.transaction; 12]));
        if self.nonce.is_empty() {
            return writer.finish();
        }
        writer
            .attribute(attribute::USERNAME, self.credential.username.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, self.nonce.as_bytes())
            .sign(&self.key())
            .finish()
    }

    fn key(&self) -> [u8; 16] {
        long_term_key(&self.credential.username, REALM, &self.credential.password)
    }

    fn allocate(&mut self, world: &mut World) -> Said {
        self.ask(world, method::ALLOCATE, |it| {
            it.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        })
    }

    /// Allocates, and returns the relayed address.
    fn relay(&mut self, world: &mut World) -> SocketAddr {
        match self.allocate(world) {
            Said::Success(Some(relayed), Some(600)) => relayed,
            other => panic!("{other:?}"),
        }
    }

    fn refresh(&mut self, world: &mut World, lifetime: u32) -> Said {
        self.ask(world, method::REFRESH, |it| {
            it.number(attribute::LIFETIME, lifetime)
        })
    }

    fn permit(&mut self, world: &mut World, peer: SocketAddr) -> Said {
        self.ask(world, method::CREATE_PERMISSION, |it| {
            it.address(attribute::XOR_PEER_ADDRESS, peer)
        })
    }

    fn bind(&mut self, world: &mut World, channel: u16, peer: SocketAddr) -> Said {
        self.ask(world, method::CHANNEL_BIND, |it| {
            it.number(attribute::CHANNEL_NUMBER, u32::from(channel) << 16)
                .address(attribute::XOR_PEER_ADDRESS, peer)
        })
    }

    fn send(&self, world: &mut World, peer: SocketAddr, data: &[u8]) {
        let raw = Writer::new(Class::Indication, method::SEND, &[0; 12])
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::DATA, data)
            .finish();
        assert_eq!(world.hears(self.client, &raw), None);
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn whoever_asks_is_told_its_address() {
    let mut world = world(|_| ());
    let client = caller("1.2.3.4:5", world.credential(1, 1)).client;
    let raw = Writer::new(Class::Request, method::BINDING, &[7; 12]).finish();
    let answer = world.hears(client, &raw).unwrap();
    let message = Message::read(&answer).unwrap();
    let mapped = message.get(attribute::XOR_MAPPED_ADDRESS).unwrap();
    assert_eq!(stun::read_address(mapped, &[7; 12]), Some(at("1.2.3.4:5")));
}

#[test]
fn a_film_is_relayed_past_the_ten_minutes_of_its_credential_and_not_past_twelve_hours() {
    let mut world = world(|_| ());
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    let seeder = at("9.9.9.9:9");
    viewer.relay(&mut world);
    assert_eq!(viewer.bind(&mut world, 0x4000, seeder), DONE);
    let mut minutes = 0;
    let end = loop {
        // As clients do: everything is refreshed in time.
        world.pass(240);
        minutes += 4;
        if viewer.refresh(&mut world, 600) == Said::Error(437) {
            break minutes;
        }
        assert_eq!(
            viewer.bind(&mut world, 0x4000, seeder),
            DONE,
            "minute {minutes}"
        );
        world.hears(viewer.client, &stun::channel_data(0x4000, b"up"));
        let (relay, to, bytes) = world.relayed.pop().expect("relayed");
        assert_eq!((to, &bytes[..]), (seeder, &b"up"[..]));
        world.heard.clear();
        world.relays.handle_peer(world.now, relay, seeder, b"down");
        world.settle();
        assert_eq!(
            world.heard.pop().unwrap().1,
            stun::channel_data(0x4000, b"down")
        );
    };
    assert_eq!(end, 12 * 60);
    assert_eq!(world.closed, 1);
    // The credential has long expired: it begins nothing new.
    assert_eq!(viewer.allocate(&mut world), Said::Error(401));
    viewer.credential = world.credential(1, 1);
    viewer.relay(&mut world);
}

#[test]
fn what_is_not_refreshed_ends() {
    let mut world = world(|_| ());
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    let relayed = viewer.relay(&mut world);
    assert_eq!(viewer.permit(&mut world, at("9.9.9.9:9")), DONE);
    world.pass(299);
    viewer.send(&mut world, at("9.9.9.9:7"), b"in time, to any port");
    assert_eq!(world.relayed.len(), 1);
    world.pass(2);
    viewer.send(&mut world, at("9.9.9.9:9"), b"too late");
    world
        .relays
        .handle_peer(world.now, world.relayed[0].0, at("9.9.9.9:9"), b"too late");
    world.settle();
    assert_eq!((world.relayed.len(), world.heard.len()), (1, 0));
    world.pass(300);
    assert_eq!(world.closed, 1);
    assert_eq!(viewer.permit(&mut world, at("9.9.9.9:9")), Said::Error(437));
    viewer.credential = world.credential(1, 1);
    assert_ne!(viewer.relay(&mut world), relayed);
    assert_eq!(viewer.refresh(&mut world, 0), Said::Success(None, Some(0)));
    assert_eq!(world.closed, 2);
}

#[test]
fn nobody_but_the_open_internet_is_relayed_to() {
    for family in ["8.8.4.4", "2a00::1"] {
        let public: IpAddr = family.parse().unwrap();
        let mut world = world(|settings| settings.public = public);
        let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
        let family = if public.is_ipv6() { 2 } else { 1 };
        let said = viewer.ask(&mut world, method::ALLOCATE, |it| {
            it.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
        });
        assert!(matches!(said, Said::Success(Some(_), _)));
        for address in FORBIDDEN {
            let peer = SocketAddr::new(address.parse().unwrap(), 80);
            let refused = if peer.is_ipv6() == public.is_ipv6() {
                403
            } else {
                443
            };
            assert_eq!(
                viewer.permit(&mut world, peer),
                Said::Error(refused),
                "{address}"
            );
            assert_eq!(
                viewer.bind(&mut world, 0x4000, peer),
                Said::Error(refused),
                "{address}"
            );
            viewer.send(&mut world, peer, b"hello");
        }
        // One good address among them does not let the others in.
        let (good, bad) = match public {
            IpAddr::V4(_) => (at("9.9.9.9:9"), at("169.254.169.254:80")),
            IpAddr::V6(_) => (at("[2a00::9]:9"), at("[::1]:80")),
        };
        let both = viewer.ask(&mut world, method::CREATE_PERMISSION, |it| {
            it.address(attribute::XOR_PEER_ADDRESS, good)
                .address(attribute::XOR_PEER_ADDRESS, bad)
        });
        assert_eq!(both, Said::Error(403));
        viewer.send(&mut world, good, b"hello");
        viewer.send(&mut world, bad, b"hello");
        assert!(world.relayed.is_empty());
    }
}

#[test]
fn our_own_address_leads_to_other_relays_and_to_no_socket() {
    let mut world = world(|_| ());
    let mut alice = caller("1.2.3.4:5", world.credential(1, 1));
    let mut bob = caller("4.3.2.1:5", world.credential(1, 2));
    let (a, b) = (alice.relay(&mut world), bob.relay(&mut world));
    assert_eq!(alice.permit(&mut world, b), DONE);
    let raw = Writer::new(Class::Indication, method::SEND, &[0; 12])
        .address(attribute::XOR_PEER_ADDRESS, b)
        .attribute(attribute::DATA, b"hi")
        .finish();
    world.hears(alice.client, &raw);
    assert!(world.heard.is_empty(), "Bob has not permitted her");
    assert_eq!(bob.permit(&mut world, a), DONE);
    world.heard.clear();
    world.relays.handle_client(world.now, alice.client, &raw);
    world.settle();
    let (to, bytes) = world.heard.pop().unwrap();
    let message = Message::read(&bytes).unwrap();
    assert_eq!((to, message.method), (bob.client, method::DATA));
    assert_eq!(message.get(attribute::DATA), Some(&b"hi"[..]));
    assert_eq!(message.peers().next(), Some(Some(a)));
    // The DNS server of this very machine, say.
    alice.send(&mut world, at("8.8.4.4:53"), b"hello");
    // Where it has another public address, that is nobody's business either.
    let second = at("9.9.9.1:53");
    assert_eq!(alice.permit(&mut world, second), Said::Error(403));
    assert_eq!(alice.bind(&mut world, 0x4000, second), Said::Error(403));
    alice.send(&mut world, second, b"hello");
    assert!(world.relayed.is_empty() && world.heard.is_empty());
}

#[test]
fn only_who_has_a_credential_of_ours_gets_anything() {
    let mut world = world(|_| ());
    let good = world.credential(1, 1);
    let wrong_password = Credential {
        password: "guess".to_owned(),
        ..good.clone()
    };
    let later = Credential {
        username: good.username.replace("18000", "18001"),
        ..good.clone()
    };
    for credential in [wrong_password, later] {
        let mut mallory = caller("6.6.6.6:6", credential);
        assert_eq!(mallory.allocate(&mut world), Said::Error(401));
    }
    let mut viewer = caller("1.2.3.4:5", good);
    viewer.relay(&mut world);
    // A nonce is for one address, and for an hour.
    let mut thief = caller("6.6.6.6:6", viewer.credential.clone());
    thief.nonce = viewer.nonce.clone();
    assert_eq!(thief.permit(&mut world, at("9.9.9.9:9")), Said::Error(437));
    // Another credential does not move an allocation.
    let mut other = caller("1.2.3.4:5", world.credential(1, 2));
    assert_eq!(other.refresh(&mut world, 0), Said::Error(441));
    assert_eq!(other.allocate(&mut world), Said::Error(437));
    assert_eq!(viewer.permit(&mut world, at("9.9.9.9:9")), DONE);
}

#[test]
fn a_repeated_request_gets_the_same_relay() {
    let mut world = world(|_| ());
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    viewer.relay(&mut world);
    let raw = viewer.request(method::ALLOCATE, |it| {
        it.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    });
    let again = world.hears(viewer.client, &raw).unwrap();
    let message = Message::read(&again).unwrap();
    assert_eq!(message.class, Class::Success);
    assert_eq!(world.next_port, 50_001, "one socket");
}

#[test]
fn nobody_has_more_relays_than_its_share_and_all_are_given_back() {
    let mut world = world(|_| ());
    let credential = world.credential(1, 1);
    let mut callers: Vec<Caller> = (0..2)
        .map(|port| caller(&format!("1.2.3.4:{}", port + 5), credential.clone()))
        .collect();
    for caller in &mut callers {
        caller.relay(&mut world);
    }
    // From elsewhere it is the same user; with another credential the same address.
    let mut same_user = caller("4.4.4.4:4", credential);
    assert_eq!(same_user.allocate(&mut world), Said::Error(486));
    let mut same_address = caller("1.2.3.4:9", world.credential(2, 2));
    same_address.relay(&mut world);
    let mut fourth = caller("1.2.3.4:10", world.credential(3, 3));
    assert_eq!(fourth.allocate(&mut world), Said::Error(486));
    let mut last = caller("5.5.5.5:5", world.credential(4, 4));
    last.relay(&mut world);
    let mut too_many = caller("7.7.7.7:7", world.credential(5, 5));
    assert_eq!(too_many.allocate(&mut world), Said::Error(508));
    // A lost connection gives back, too.
    world.relays.handle_gone(callers[0].client);
    world.settle();
    same_user.relay(&mut world);
    world.pass(601);
    assert_eq!(world.closed, 5);
    assert!(world.relays.is_empty(), "nothing is left behind");
}

#[test]
fn a_user_and_all_users_together_keep_to_their_rates() {
    let mut world = world(|settings| settings.bytes_per_second = 15_000);
    let peer = at("9.9.9.9:9");
    let mut callers = Vec::new();
    for number in 1..=2 {
        let mut caller = caller(&format!("1.2.3.{number}:5"), world.credential(1, number));
        caller.relay(&mut world);
        assert_eq!(caller.permit(&mut world, peer), DONE);
        callers.push(caller);
    }
    let sent_in = |world: &mut World, caller: &Caller, seconds: u64| {
        world.relayed.clear();
        for _ in 0..seconds * 10 {
            world.now += Duration::from_millis(100);
            for _ in 0..10 {
                caller.send(world, peer, &[0; 968]);
            }
        }
        world.relayed.len() as u64
    };
    let _burst = sent_in(&mut world, &callers[0], 10);
    assert!(
        (99..=101).contains(&sent_in(&mut world, &callers[0], 10)),
        "10 kB a second"
    );
    // Both together: the second gets what is left of 15.
    world.relayed.clear();
    for _ in 0..300 {
        world.now += Duration::from_millis(100);
        for caller in &callers {
            for _ in 0..5 {
                caller.send(&mut world, peer, &[0; 968]);
            }
        }
    }
    let of_all = world.relayed.len();
    // Thirty seconds, and what two seconds saved up.
    assert!((430..=485).contains(&of_all), "{of_all}");
}

/// How many packets of 1,000 bytes come through of those that all send for so many seconds: each of them twice its rate.
fn relayed_in(world: &mut World, callers: &[Caller], peer: SocketAddr, seconds: u64) -> usize {
    world.relayed.clear();
    for _ in 0..seconds * 10 {
        world.now += Duration::from_millis(100);
        for caller in callers {
            for _ in 0..2 {
                caller.send(world, peer, &[0; 968]);
            }
        }
    }
    world.relayed.len()
}

#[test]
fn as_many_users_as_one_address_makes_have_no_more_than_its_rate() {
    let mut world = world(|settings| {
        settings.address_bytes_per_second = 15_000;
        settings.allocations_max = 10;
    });
    let peer = at("9.9.9.9:9");
    let relaying = |world: &mut World, address: &str, number: u8| {
        let mut caller = caller(address, world.credential(1, number));
        caller.relay(world);
        assert_eq!(caller.permit(world, peer), DONE);
        caller
    };
    // One customer's network is one address.
    let crowd = [1, 2, 3].map(|n| relaying(&mut world, &format!("[2a00:1:2:3::{n}]:5"), n));
    let _burst = relayed_in(&mut world, &crowd, peer, 10);
    let of_all = relayed_in(&mut world, &crowd, peer, 30);
    assert!((445..=455).contains(&of_all), "{of_all}");
    // Whoever lives elsewhere has its own.
    let other = [relaying(&mut world, "[2a00:1:2:4::1]:5", 4)];
    let _burst = relayed_in(&mut world, &other, peer, 10);
    let of_other = relayed_in(&mut world, &other, peer, 30);
    assert!((295..=305).contains(&of_other), "{of_other}");
}

#[test]
fn who_gives_a_relay_back_and_asks_for_another_has_spent_what_it_has_spent() {
    let mut world = world(|_| ());
    let peer = at("9.9.9.9:9");
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    let mut of_all = 0;
    for _ in 0..10 {
        viewer.relay(&mut world);
        assert_eq!(viewer.permit(&mut world, peer), DONE);
        of_all += relayed_in(&mut world, std::slice::from_ref(&viewer), peer, 1);
        assert_eq!(viewer.refresh(&mut world, 0), Said::Success(None, Some(0)));
        world.pass(0);
    }
    // Ten seconds, and what two seconds saved up.
    assert!((110..=121).contains(&of_all), "{of_all}");
    world.pass(5);
    assert!(world.relays.is_empty(), "nothing is left behind");
}

#[test]
fn under_a_false_address_one_gets_few_answers() {
    let mut world = world(|_| ());
    let victim = caller("1.2.3.4:5", world.credential(1, 1)).client;
    let raw = Writer::new(Class::Request, method::ALLOCATE, &[7; 12]).finish();
    let answers = (0..5000)
        .filter(|_| world.hears(victim, &raw).is_some())
        .count();
    assert_eq!(answers, 1000);
    let other = caller("2.2.2.2:5", world.credential(1, 1)).client;
    assert!(world.hears(other, &raw).is_some(), "others are answered");
    assert_eq!(world.relays.allocations(), 0);
}

#[test]
fn an_allocate_whose_attributes_are_cut_off_is_refused_and_nothing_else_happens() {
    let mut world = world(|_| ());
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    let with = |transport: &[u8], family: &[u8]| {
        let (transport, family) = (transport.to_vec(), family.to_vec());
        move |it: Writer| {
            it.attribute(attribute::REQUESTED_TRANSPORT, &transport)
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &family)
        }
    };
    for family in [&[][..], &[1], &[1, 0, 0], &[1, 0, 0, 0, 0]] {
        let said = viewer.ask(&mut world, method::ALLOCATE, with(&[17, 0, 0, 0], family));
        assert_eq!(said, Said::Error(400), "{family:?}");
    }
    let said = viewer.ask(&mut world, method::ALLOCATE, with(&[], &[1, 0, 0, 0]));
    assert_eq!(said, Said::Error(442));
    for family in [0, 2, 3] {
        let said = viewer.ask(
            &mut world,
            method::ALLOCATE,
            with(&[17, 0, 0, 0], &[family, 0, 0, 0]),
        );
        assert_eq!(said, Said::Error(440), "{family}");
    }
    viewer.relay(&mut world);
}

/// What a client with a credential sends.
#[derive(Clone, Debug)]
enum Sent {
    /// Signed as it should be, whatever stands in it.
    Request(u16, Body),
    /// A Send, which nobody signs.
    Indication(Body),
    /// Of this channel and with this length, which may be a wrong one.
    Channel(u16, u16, Vec<u8>),
}

/// Attributes, and bytes that are changed in them before they are signed.
#[derive(Clone, Debug)]
struct Body {
    attributes: Vec<(u16, Vec<u8>)>,
    changes: Vec<(usize, u8)>,
}

impl Body {
    fn write(&self, writer: Writer) -> Writer {
        let add = |writer: Writer, (kind, value): &(u16, Vec<u8>)| writer.attribute(*kind, value);
        let writer = self.attributes.iter().fold(writer, add);
        let change = |writer: Writer, (at, byte): &(usize, u8)| writer.change(*at, *byte);
        self.changes.iter().fold(writer, change)
    }
}

impl Sent {
    fn by(&self, caller: &Caller) -> Vec<u8> {
        match self {
            Self::Request(method, body) => caller.request(*method, |it| body.write(it)),
            Self::Indication(body) => {
                let writer = Writer::new(Class::Indication, method::SEND, &[0; 12]);
                body.write(writer).finish()
            }
            Self::Channel(channel, len, data) => {
                let mut raw = stun::channel_data(*channel, data);
                raw[2..4].copy_from_slice(&len.to_be_bytes());
                raw
            }
        }
    }
}

mod anything {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Attributes that the relay reads, and some that it does not.
    fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
        use super::attribute::*;
        let read = [
            CHANNEL_NUMBER,
            LIFETIME,
            XOR_PEER_ADDRESS,
            DATA,
            REQUESTED_ADDRESS_FAMILY,
            REQUESTED_TRANSPORT,
        ];
        let proof = [USERNAME, REALM, NONCE, MESSAGE_INTEGRITY, FINGERPRINT];
        let kind = prop_oneof![
            12 => prop::sample::select(read.to_vec()),
            1 => prop::sample::select(proof.to_vec()),
            1 => any::<u16>(),
        ];
        let junk = prop_oneof![
            vec(any::<u8>(), 0..4),
            vec(0u8..20, 4),
            vec(any::<u8>(), 5..40),
        ];
        prop_oneof![
            2 => (kind, junk),
            1 => Just((REQUESTED_TRANSPORT, vec![17, 0, 0, 0])),
            1 => Just((REQUESTED_ADDRESS_FAMILY, vec![1, 0, 0, 0])),
            1 => Just((CHANNEL_NUMBER, vec![0x40, 1, 0, 0])),
            2 => peer().prop_map(|peer| (XOR_PEER_ADDRESS, peer)),
            1 => Just((DATA, b"x".to_vec())),
        ]
    }

    /// One that may be reached, or one that may not, as an attribute has it.
    fn peer() -> impl Strategy<Value = Vec<u8>> {
        let forbidden = prop::sample::select(FORBIDDEN.to_vec());
        let ip = prop_oneof![Just("9.9.9.9"), Just("8.8.4.4"), forbidden];
        ip.prop_map(|ip| {
            let peer = SocketAddr::new(ip.parse().unwrap(), 9);
            let raw = Writer::new(Class::Request, method::ALLOCATE, &[0; 12])
                .address(attribute::XOR_PEER_ADDRESS, peer)
                .finish();
            let message = Message::read(&raw).unwrap();
            message.get(attribute::XOR_PEER_ADDRESS).unwrap().to_vec()
        })
    }

    fn body() -> impl Strategy<Value = Body> {
        let change = (20usize..100, any::<u8>());
        (vec(attribute(), 0..6), vec(change, 0..3)).prop_map(|(attributes, changes)| Body {
            attributes,
            changes,
        })
    }

    pub fn sent() -> impl Strategy<Value = Sent> {
        use super::method::*;
        let known = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND];
        let method = prop_oneof![
            9 => prop::sample::select(known.to_vec()),
            1 => 0u16..0x1000,
        ];
        let channel = prop_oneof![3 => 0x4000u16..0x4003, 1 => any::<u16>()];
        let len = prop_oneof![3 => 0u16..8, 1 => any::<u16>()];
        prop_oneof![
            4 => (method, body()).prop_map(|(method, body)| Sent::Request(method, body)),
            2 => body().prop_map(Sent::Indication),
            1 => (channel, len, vec(any::<u8>(), 0..8))
                .prop_map(|(channel, len, data)| Sent::Channel(channel, len, data)),
        ]
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1000))]
    /// Whatever clients that have a credential send, signed as it should be, nothing panics, what they may not reach is not reached, and others are served.
    #[test]
    fn no_datagram_makes_it_panic(sent in proptest::collection::vec((proptest::bool::ANY, anything::sent()), 1..8)) {
        let mut world = world(|_| ());
        let mut relaying = caller("1.2.3.4:5", world.credential(1, 1));
        relaying.relay(&mut world);
        proptest::prop_assert_eq!(relaying.bind(&mut world, 0x4000, at("9.9.9.9:9")), DONE);
        // Its first question tells it the nonce, and no more.
        let mut new = caller("4.3.2.1:5", world.credential(1, 2));
        proptest::prop_assert_eq!(new.ask_once(&mut world, method::REFRESH, &|it| it), Said::Error(401));
        for (of_new, sent) in sent {
            let caller = if of_new { &mut new } else { &mut relaying };
            // Else an Allocate would be taken for the repetition of an earlier one.
            caller.transaction = caller.transaction.wrapping_add(1);
            let raw = sent.by(caller);
            world.hears(caller.client, &raw);
        }
        for (_, to, _) in &world.relayed {
            proptest::prop_assert!(filter::is_allowed(to.ip(), &[], |_| false) && to.ip() != world.relays.public(), "{}", to);
        }
        let other = caller("2.2.2.2:2", world.credential(1, 3)).client;
        let raw = Writer::new(Class::Request, method::BINDING, &[7; 12]).finish();
        proptest::prop_assert!(world.hears(other, &raw).is_some());
    }
}
