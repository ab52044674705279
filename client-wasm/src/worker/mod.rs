//! The worker's half: engine, hashing, storage and file reading. Its clock is not throttled in hidden tabs.
//!
//! Everything turns from one [`Inbox`]: a message from the page, a file read, a timer.

mod carrier;
mod decoder;
mod disk;
mod film;
mod opfs;
mod publisher;
mod ranges;
mod reader;
#[cfg(feature = "simd")]
mod rehearsal;
mod signed;
mod store;
mod stream;
mod table;
mod viewer;

use crate::bridge::{
    COLD, HOT_CHANNELS, HOT_CREDIT, HOT_PLAYHEAD, HOT_RECEIVED, HOT_TAB, StreamNumber, ToPage,
    ToWorker,
};
use crate::door::{self, Handler};
use crate::flow::FlowNews;
use crate::inbox::{Call, Inbox};
use baton_sorted::SortedMap;
use baton_swarm::{ConnId, Input, Instant};
use bytes::Bytes;
use gloo_timers::callback::{Interval, Timeout};
use js_sys::Array;
use std::rc::{Rc, Weak};
use stream::{WorkerStream, channel_of};
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

/// News for the worker's half.
pub enum WorkerEvent {
    Page(JsValue),
    Publisher(StreamNumber, publisher::PublisherEvent),
    /// On the channels of a connection that are here.
    Flow(StreamNumber, u64, FlowNews),
    /// A film that gave way to other news goes on.
    Film(StreamNumber),
    Storage(StreamNumber, stream::StorageEvent),
    Timer,
    Tick,
}

/// All engines of one page.
pub struct Worker {
    door: Door,
    streams: SortedMap<StreamNumber, WorkerStream>,
    timer: Option<(Instant, Timeout)>,
}

/// The way out: to the page, and back into our own inbox.
#[derive(Clone)]
pub struct Door {
    scope: DedicatedWorkerGlobalScope,
    inbox: Weak<Inbox<WorkerEvent, Worker>>,
}

impl Door {
    /// Tells the page something.
    pub fn tell(&self, news: &ToPage) {
        self.post(&[COLD.into(), door::buffer(&news.encode())], &Array::new());
    }

    /// Posts a hot message; `transfer` lists its buffers.
    pub fn post(&self, message: &[JsValue], transfer: &Array) {
        self.scope
            .post_message_with_transfer(&door::array(message), transfer)
            .expect("plain values and fresh buffers can be posted");
    }

    /// Puts news into our own inbox, from a callback.
    pub fn emit(&self, event: WorkerEvent) {
        if let Some(inbox) = self.inbox.upgrade() {
            inbox.push(event);
        }
    }
}

/// Begins to work; called once, by the worker's script.
#[wasm_bindgen]
pub fn worker_main() {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let door = Door {
        scope: scope.clone(),
        inbox: Weak::new(),
    };
    let worker = Worker {
        door,
        streams: SortedMap::new(),
        timer: None,
    };
    let inbox = Inbox::new(worker, Worker::handle, Worker::settle);
    inbox.with(|worker| worker.door.inbox = Rc::downgrade(&inbox));
    let messages = inbox.clone();
    let on_message = Handler::new(&scope, "message", move |event| {
        let data = event.unchecked_into::<MessageEvent>().data();
        if data.is_instance_of::<Array>() {
            messages.push(WorkerEvent::Page(data));
        }
    });
    let tick = Interval::new(TICK_MS, move || inbox.push(WorkerEvent::Tick));
    // They live as long as the worker, which ends by being terminated.
    std::mem::forget(on_message);
    tick.forget();
}

impl Worker {
    fn handle(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::Page(message) => self.handle_page(message.unchecked_ref()),
            WorkerEvent::Publisher(stream, event) => {
                self.in_stream(stream, |s| s.publisher_event(event))
            }
            WorkerEvent::Flow(stream, conn, news) => self.in_stream(stream, |s| s.flow(conn, news)),
            WorkerEvent::Film(stream) => self.in_stream(stream, WorkerStream::film_again),
            WorkerEvent::Storage(stream, event) => {
                self.in_stream(stream, |s| s.storage_event(event))
            }
            WorkerEvent::Timer => {
                self.timer = None;
                let now = now();
                for stream in self.streams.values_mut() {
                    stream.wake(now);
                }
            }
            WorkerEvent::Tick => {
                for stream in self.streams.values_mut() {
                    stream.tick();
                }
            }
        }
    }

    /// Everything that the engines want done, then sleep until one of them wants the time.
    fn settle(&mut self) -> Vec<Call> {
        for stream in self.streams.values_mut() {
            stream.drain();
        }
        let next = self
            .streams
            .values()
            .filter_map(WorkerStream::poll_timeout)
            .min();
        if self.timer.as_ref().map(|(at, _)| *at) != next {
            self.timer = next.map(|at| {
                let wait_ms =
                    at.0.saturating_sub(now().0)
                        .div_ceil(1000)
                        .clamp(1, SLEEP_MAX_MS) as u32;
                let door = self.door.clone();
                (
                    at,
                    Timeout::new(wait_ms, move || door.emit(WorkerEvent::Timer)),
                )
            });
        }
        Vec::new()
    }

    fn in_stream(&mut self, stream: StreamNumber, f: impl FnOnce(&mut WorkerStream)) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            f(stream);
        }
    }

    fn handle_page(&mut self, message: &Array) {
        let number = |i: u32| message.get(i).as_f64().unwrap_or(-1.0);
        let stream = number(1) as StreamNumber;
        match number(0) as u32 {
            HOT_RECEIVED => {
                let conn = ConnId(number(2) as u64);
                let channel = channel_of(number(3) as u32);
                let bytes = Bytes::from(door::bytes(&message.get(4)));
                door::free(&message.get(4).unchecked_into());
                self.in_stream(stream, |s| {
                    s.input(Input::Received {
                        conn,
                        channel,
                        bytes,
                    })
                });
            }
            HOT_CHANNELS => {
                let conn = number(2) as u64;
                let (control, data) = (message.get(3), message.get(4));
                self.in_stream(stream, |s| {
                    s.channels(conn, control.unchecked_into(), data.unchecked_into())
                });
            }
            HOT_TAB => {
                let conn = number(2) as u64;
                self.in_stream(stream, |s| {
                    s.channels(
                        conn,
                        message.get(3).unchecked_into(),
                        message.get(4).unchecked_into(),
                    );
                    let (peer, nonce) =
                        (door::bytes(&message.get(5)), door::bytes(&message.get(6)));
                    s.tab(conn, &peer, &nonce, message.get(7).is_truthy());
                });
            }
            HOT_CREDIT => {
                let (conn, credit) = (ConnId(number(2) as u64), number(3) as u64);
                self.in_stream(stream, |s| s.input(Input::Writable { conn, credit }));
            }
            HOT_PLAYHEAD => {
                let (at_s, until_s) = (number(2), number(3));
                self.in_stream(stream, |s| s.playhead(at_s, until_s));
            }
            COLD => {
                if let Some(news) = ToWorker::decode(&door::bytes(&message.get(1))) {
                    self.cold(news, message.get(2));
                }
            }
            other => unreachable!("the page is the same build and sends no {other}"),
        }
    }

    fn cold(&mut self, news: ToWorker, attachment: JsValue) {
        match news {
            ToWorker::Share {
                stream,
                peer_seed,
                spec,
                keep,
            } => {
                let files: Array = attachment.unchecked_into();
                let files = files.iter().map(JsCast::unchecked_into).collect();
                let door = self.door.clone();
                let made = WorkerStream::share(stream, door, peer_seed, spec, files, keep, now());
                self.streams.insert(stream, made);
            }
            ToWorker::Open {
                stream,
                peer_seed,
                fragment,
                means,
            } => {
                let door = self.door.clone();
                let made = WorkerStream::open(stream, door, peer_seed, &fragment, means, now());
                self.streams.insert(stream, made);
                // After what has come already.
                #[cfg(feature = "simd")]
                if self.streams.len() == 1 {
                    Timeout::new(0, rehearsal::rehearse).forget();
                }
            }
            ToWorker::Close { stream } => {
                if let Some(mut closing) = self.streams.remove(&stream) {
                    closing.input(Input::Leaving);
                    closing.drain();
                    closing.close();
                    // Its channels live on until its goodbyes have left.
                    Timeout::new(LINGER_MS, move || drop(closing)).forget();
                }
            }
            other => {
                if let Some(stream) = self.streams.get_mut(&other.stream()) {
                    stream.handle_page(other);
                }
            }
        }
    }
}

/// The engine's time: microseconds since the worker began.
fn now() -> Instant {
    Instant(door::now_us())
}

/// How often numbers go to the page, milliseconds (DESIGN: at most 250 ms old).
const TICK_MS: u32 = 250;
/// How long the channels of a connection that was closed are kept, milliseconds: the page closes what carries them before that.
const LINGER_MS: u32 = 1500;
/// Longest sleep, milliseconds; waking for nothing once a minute costs nothing.
const SLEEP_MAX_MS: u64 = 60_000;
