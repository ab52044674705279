//! The page's half: signalling socket, RTCPeerConnections, MediaSource, and the face that JavaScript sees.
//!
//! All of it turns from one [`Inbox`]; the engine itself is in the worker.

pub mod face;
mod player;
mod problems;
mod raw;
mod rtc;
mod signalling;
mod stats;
mod stream;

use crate::bridge::{
    COLD, HOT_CHAPTERS, HOT_CREDIT, HOT_CUE, HOT_FILM, HOT_PLAYHEAD, HOT_READ, HOT_RECEIVED,
    HOT_SEGMENT, HOT_SEND, HOT_STILL, StreamNumber, ToPage, ToWorker,
};
use crate::door;
use crate::inbox::{Call, Inbox};
use baton_sorted::SortedMap;
use js_sys::{Array, ArrayBuffer};
use std::rc::{Rc, Weak};
use stream::PageStream;
use wasm_bindgen::prelude::*;
use web_sys::Worker;

/// News for the page's half.
pub enum PageEvent {
    Worker(JsValue),
    Socket(StreamNumber, signalling::SocketEvent),
    Rtc(StreamNumber, u64, rtc::RtcEvent),
    Video(StreamNumber, player::VideoEvent),
    /// The worker is gone, and what it said last.
    EngineStopped(String),
    Tick,
}

/// The page's half of everything that this page has open.
pub struct Page {
    /// Origin that the links name and the sockets go to.
    server: String,
    streams: SortedMap<StreamNumber, PageStream>,
    next_stream: StreamNumber,
    inbox: Weak<Inbox<PageEvent, Page>>,
    calls: Vec<Call>,
    /// Why the worker is gone.
    stopped: Option<String>,
    /// What keeps all this turning until `close`, whichever of Client, Share and View are still referred to.
    running: Option<face::Running>,
}

/// Makes events of one kind for one stream.
pub struct Emitter {
    inbox: Weak<Inbox<PageEvent, Page>>,
}

impl Emitter {
    fn push(&self, event: PageEvent) {
        if let Some(inbox) = self.inbox.upgrade() {
            inbox.push(event);
        }
    }
}

impl Page {
    /// Nothing open yet.
    pub fn start(server: String) -> Rc<Inbox<PageEvent, Page>> {
        let page = Page {
            server,
            streams: SortedMap::new(),
            next_stream: 1,
            inbox: Weak::new(),
            calls: Vec::new(),
            stopped: None,
            running: None,
        };
        let inbox = Inbox::new(page, Page::handle, Page::settle);
        inbox.with(|page| page.inbox = Rc::downgrade(&inbox));
        inbox
    }

    fn handle(&mut self, event: PageEvent) {
        match event {
            PageEvent::Worker(message) => self.handle_worker(&message),
            PageEvent::Socket(stream, event) => self.in_stream(stream, |s| s.socket(event)),
            PageEvent::Rtc(stream, conn, event) => self.in_stream(stream, |s| s.rtc(conn, event)),
            PageEvent::Video(stream, event) => self.in_stream(stream, |s| s.video(event)),
            PageEvent::EngineStopped(why) => {
                for stream in self.streams.values_mut() {
                    stream.engine_stopped(&why);
                }
                self.stopped.get_or_insert(why);
            }
            PageEvent::Tick => {
                for stream in self.streams.values_mut() {
                    stream.tick();
                }
                self.streams.retain(|_, s| !(s.forgotten && s.ended()));
            }
        }
    }

    fn add(&mut self, number: StreamNumber, mut stream: PageStream) {
        if let Some(why) = &self.stopped {
            stream.engine_stopped(why);
        }
        self.streams.insert(number, stream);
    }

    /// Gathers what has to be called once nothing is borrowed: promises to settle, `onchange`.
    fn settle(&mut self) -> Vec<Call> {
        for stream in self.streams.values_mut() {
            stream.notice(&mut self.calls);
        }
        std::mem::take(&mut self.calls)
    }

    fn in_stream(&mut self, stream: StreamNumber, f: impl FnOnce(&mut PageStream)) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            f(stream);
        }
    }

    /// What is still of a film that another took the place of is not heard.
    fn in_film(&mut self, stream: StreamNumber, f: impl FnOnce(&mut PageStream)) {
        if let Some(stream) = self.streams.get_mut(&stream)
            && !stream.is_attaching()
        {
            f(stream);
        }
    }

    fn handle_worker(&mut self, message: &JsValue) {
        let message: &Array = message.unchecked_ref();
        let number = |i: u32| message.get(i).as_f64().unwrap_or(-1.0);
        match number(0) as u32 {
            HOT_SEND => {
                let sends = (2..message.length()).step_by(3).map(|i| {
                    (
                        number(i) as u64,
                        number(i + 1) as u32,
                        message.get(i + 2).unchecked_into::<ArrayBuffer>(),
                    )
                });
                let sends: Vec<_> = sends.collect();
                self.in_stream(number(1) as u32, |s| s.send(sends));
            }
            HOT_SEGMENT => {
                let segment = player::Segment {
                    track: number(2) as u32,
                    generation: number(3) as u32,
                    start_s: number(4),
                    data: message.get(5).unchecked_into(),
                    random_access: message.get(6).is_truthy(),
                };
                self.in_film(number(1) as u32, |s| s.segment(segment));
            }
            HOT_CUE => {
                let cue = player::Cue {
                    track: number(2) as u32,
                    start_s: number(3),
                    end_s: number(4),
                    text: message.get(5).as_string().unwrap_or_default(),
                    top: message.get(6).is_truthy(),
                };
                self.in_film(number(1) as u32, |s| s.cue(cue));
            }
            HOT_FILM => self.in_film(number(1) as u32, |s| s.film(message.get(2))),
            HOT_CHAPTERS => self.in_film(number(1) as u32, |s| s.chapters(&message.get(2))),
            HOT_STILL => {
                let still = stats::still_object(number(3), message.get(4), message.get(5));
                self.in_stream(number(1) as u32, |s| s.still(number(2) as u32, &still));
            }
            HOT_READ => {
                let answer = message.get(3);
                self.in_stream(number(1) as u32, |s| s.read_done(number(2) as u32, &answer));
            }
            COLD => {
                if let Some(news) = ToPage::decode(&door::bytes(&message.get(1))) {
                    self.cold(news);
                }
            }
            other => unreachable!("the worker is the same build and sends no {other}"),
        }
    }

    fn cold(&mut self, news: ToPage) {
        match news {
            ToPage::Connect { stream, peer } => self.in_stream(stream, |s| s.connect(peer)),
            ToPage::Disconnect { stream, conn } => self.in_stream(stream, |s| s.disconnect(conn)),
            ToPage::Opened { stream, conn } => {
                self.in_stream(stream, |s| s.rtc(conn, rtc::RtcEvent::Connected))
            }
            ToPage::Gone { stream, conn } => {
                self.in_stream(stream, |s| s.rtc(conn, rtc::RtcEvent::Gone))
            }
            ToPage::Introduced { stream, from, blob } => {
                self.in_stream(stream, |s| s.blob(from, &blob))
            }
            ToPage::Report {
                stream,
                completeness_permille,
                free_slots,
            } => {
                self.in_stream(stream, |s| s.report(completeness_permille, free_slots));
            }
            ToPage::Attached { stream } => self.in_stream(stream, PageStream::attached),
            ToPage::Meta { stream, meta } => self.in_stream(stream, |s| s.meta(meta)),
            ToPage::Ready { stream, info } => self.in_film(stream, |s| s.ready(info)),
            ToPage::Duration {
                stream,
                duration_us,
            } => self.in_film(stream, |s| s.duration(duration_us)),
            ToPage::TrackEnded {
                stream,
                track,
                generation,
            } => {
                self.in_film(stream, |s| s.track_ended(track, generation));
            }
            ToPage::Stats { stream, stats } => self.in_stream(stream, |s| s.stats(*stats)),
            ToPage::Problem { stream, problem } => self.in_stream(stream, |s| s.problem(problem)),
        }
    }
}

/// Sends a cold message to the worker.
fn tell(worker: &Worker, news: &ToWorker) {
    let _ = worker.post_message(&door::array(&[COLD.into(), door::buffer(&news.encode())]));
}

/// The same with something beside it that only structured cloning can carry (a `File`).
fn tell_with(worker: &Worker, news: &ToWorker, attachment: &JsValue) {
    let message = door::array(&[
        COLD.into(),
        door::buffer(&news.encode()),
        attachment.clone(),
    ]);
    let _ = worker.post_message(&message);
}

/// A message of a channel that is on the page, or of a carried connection.
fn tell_received(worker: &Worker, stream: StreamNumber, conn: u64, channel: u32, data: &JsValue) {
    let message = door::array(&[
        HOT_RECEIVED.into(),
        stream.into(),
        (conn as f64).into(),
        channel.into(),
        data.clone(),
    ]);
    // Only a worker that is gone takes no message, and that is noticed elsewhere.
    let _ = worker.post_message_with_transfer(&message, &Array::of1(data));
}

/// How many bytes in all may be sent on a connection whose way is by the page.
fn tell_credit(worker: &Worker, stream: StreamNumber, conn: u64, credit: f64) {
    let message = door::array(&[
        HOT_CREDIT.into(),
        stream.into(),
        (conn as f64).into(),
        credit.into(),
    ]);
    let _ = worker.post_message(&message);
}

/// Tells the worker where the viewer is.
fn tell_playhead(worker: &Worker, stream: StreamNumber, at_s: f64, until_s: f64) {
    let message = door::array(&[
        HOT_PLAYHEAD.into(),
        stream.into(),
        at_s.into(),
        until_s.into(),
    ]);
    let _ = worker.post_message(&message);
}
