//! Clients that come by TCP, over pipes.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::super::{
    Event, FIRST_WORD, IDLE, PACKET_MAX, SILENCE, State, TICK, converse, read_frame,
};
use super::*;

fn binding() -> Vec<u8> {
    Writer::new(Class::Request, method::BINDING, &[7; 12]).finish()
}

#[tokio::test]
async fn frames_are_read_whole_however_they_arrive_and_without_their_padding() {
    let data = stun::channel_data(0x4000, b"hello");
    let padding = vec![0; 3];
    let longest = stun::channel_data(0x4FFF, &[1; PACKET_MAX]);
    let stream = [binding(), data.clone(), padding, longest.clone(), binding()].concat();
    // Three bytes at a time.
    let (mut far, mut near) = duplex(3);
    let all = stream.clone();
    tokio::spawn(async move { far.write_all(&all).await });
    for frame in [binding(), data, longest, binding()] {
        assert_eq!(read_frame(&mut near).await.unwrap(), frame);
    }
    let ended = read_frame(&mut near).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
    for len in 1..binding().len() {
        let ended = read_frame(&mut &stream[..len]).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::UnexpectedEof, "{len} bytes");
    }
}

#[tokio::test]
async fn what_is_neither_stun_nor_channel_data_or_too_long_is_not_read() {
    let too_long = (PACKET_MAX as u16 + 1).to_be_bytes();
    let heads = [
        [0x50, 0, 0, 4],
        [0x80, 0, 0, 4],
        [0xFF; 4],
        // HTTP.
        *b"GET ",
        [0x40, 0, too_long[0], too_long[1]],
        [0, 1, too_long[0], too_long[1]],
        [0, 1, 0xFF, 0xFF],
    ];
    for head in heads {
        let stream = [&head[..], &[0; 70_000]].concat();
        let refused = read_frame(&mut &stream[..]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "{head:?}");
    }
}

/// A connection's far end, and what is at its near one.
fn connect(number: u64, events: &mpsc::Sender<Event>) -> (DuplexStream, Client) {
    let (far, near) = duplex(PACKET_MAX);
    let client = Client {
        transport: Transport::Tcp(number),
        address: at("1.2.3.4:5"),
    };
    let events = events.clone();
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(near);
        converse(reader, writer, client, &events).await;
    });
    (far, client)
}

/// Seconds of virtual time until the near end closes.
async fn seconds_until_closed(far: &mut DuplexStream) -> u64 {
    let began = tokio::time::Instant::now();
    assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0);
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_no_more_is_let_go() {
    let (events, _inbox) = mpsc::channel(16);
    let (mut far, _) = connect(1, &events);
    assert_eq!(seconds_until_closed(&mut far).await, FIRST_WORD.as_secs());
    // Half a word is none.
    let (mut far, _) = connect(2, &events);
    far.write_all(&binding()[..10]).await.unwrap();
    assert_eq!(seconds_until_closed(&mut far).await, FIRST_WORD.as_secs());
    let (mut far, _) = connect(3, &events);
    far.write_all(&binding()).await.unwrap();
    assert_eq!(seconds_until_closed(&mut far).await, SILENCE.as_secs());
    // What is no word ends it at once.
    let (mut far, _) = connect(4, &events);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(seconds_until_closed(&mut far).await, 0);
}

/// The task that owns the state, turned by hand.
struct Desk {
    state: State,
    inbox: mpsc::Receiver<Event>,
    now: Instant,
}

impl Desk {
    async fn turn(&mut self) {
        let event = self.inbox.recv().await.expect("its sender is here");
        self.state.handle(self.now, event);
        self.state.work().await;
    }

    async fn answer(&mut self, far: &mut DuplexStream, raw: &[u8]) -> Vec<u8> {
        far.write_all(raw).await.unwrap();
        self.turn().await;
        read_frame(far).await.unwrap()
    }

    /// Lets the seconds pass in ticks; each connection says a word at each.
    async fn pass(&mut self, seconds: u64, lines: &mut [&mut DuplexStream]) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            for far in &mut *lines {
                self.answer(far, &binding()).await;
            }
            self.now += TICK;
            self.state.handle_time(self.now);
        }
    }
}

async fn is_closed(far: &mut DuplexStream) -> bool {
    matches!(far.read(&mut [0; 9]).await, Ok(0))
}

#[tokio::test]
async fn who_has_no_relay_keeps_no_place_however_often_it_speaks() {
    let world = world(|_| ());
    let mut viewer = caller("1.2.3.4:5", world.credential(1, 1));
    let (events, inbox) = mpsc::channel(16);
    let state = State {
        relays: world.relays,
        udp: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        ports: None,
        sockets: Default::default(),
        lines: Default::default(),
        events: events.clone(),
    };
    let mut desk = Desk {
        state,
        inbox,
        now: world.now,
    };
    let (mut idle, _) = connect(1, &events);
    desk.turn().await;
    let (mut relaying, client) = connect(2, &events);
    desk.turn().await;
    viewer.client = client;
    for expected in [Class::Error, Class::Success] {
        let raw = viewer.request(method::ALLOCATE, |it| {
            it.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        });
        let answer = desk.answer(&mut relaying, &raw).await;
        let message = Message::read(&answer).unwrap();
        assert_eq!(message.class, expected);
        if let Some(nonce) = message.text(attribute::NONCE) {
            viewer.nonce = nonce.to_owned();
        }
    }
    let almost = (IDLE - TICK).as_secs();
    desk.pass(almost, &mut [&mut idle, &mut relaying]).await;
    desk.pass(TICK.as_secs(), &mut [&mut idle, &mut relaying])
        .await;
    assert!(is_closed(&mut idle).await);
    // Who has one keeps its place, and for as long again when it is given back.
    desk.pass(300, &mut [&mut relaying]).await;
    let raw = viewer.request(method::REFRESH, |it| it.number(attribute::LIFETIME, 0));
    let answer = desk.answer(&mut relaying, &raw).await;
    assert_eq!(Message::read(&answer).unwrap().class, Class::Success);
    desk.pass(IDLE.as_secs(), &mut [&mut relaying]).await;
    assert!(is_closed(&mut relaying).await);
    assert!(desk.state.lines.is_empty());
}
