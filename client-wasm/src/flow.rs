//! A connection's two channels: messages in and out, and how much more may be sent.
//!
//! The channels live where the engine is, in the worker, where the browser lets them move there (Chromium 130, Firefox 144):
//! then no message waits for the page's thread, which decodes, lays out and draws. Elsewhere they stay on the page, and each
//! message is passed on by transfer.

use crate::door::Handler;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

/// What happens on the two channels.
pub enum FlowNews {
    /// A message on the channel of this number.
    Received(u32, JsValue),
    /// How many bytes in all may be sent; see `Input::Writable`.
    Credit(f64),
    /// A channel opened; perhaps not yet both.
    Opened,
    /// A channel closed.
    Gone,
}

/// A connection's two channels, what has been sent on them, and how much more may be.
///
/// News leaves through `emit` from the very callback that brings it, past every borrow.
pub struct Flow {
    control: RtcDataChannel,
    data: RtcDataChannel,
    emit: Box<dyn Fn(FlowNews)>,
    /// The engine has been told of the connection; until then messages wait in `early`.
    announced: Cell<bool>,
    early: RefCell<Vec<(u32, JsValue)>>,
    /// Bytes put on both channels since they opened.
    sent: Cell<f64>,
    credit_reported: Cell<f64>,
    handlers: RefCell<Vec<Handler>>,
}

impl Flow {
    /// Listens to the channels from now on, until [`Flow::forget`].
    pub fn new(
        control: RtcDataChannel,
        data: RtcDataChannel,
        emit: impl Fn(FlowNews) + 'static,
    ) -> Rc<Flow> {
        for channel in [&control, &data] {
            channel.set_binary_type(RtcDataChannelType::Arraybuffer);
            channel.set_buffered_amount_low_threshold(SEND_WINDOW / 2);
        }
        let flow = Rc::new(Flow {
            control,
            data,
            emit: Box::new(emit),
            announced: Cell::new(false),
            early: RefCell::default(),
            sent: Cell::new(0.0),
            credit_reported: Cell::new(0.0),
            handlers: RefCell::default(),
        });
        flow.handlers.replace(flow.listen());
        flow
    }

    fn listen(self: &Rc<Flow>) -> Vec<Handler> {
        let mut handlers = Vec::new();
        for (number, channel) in [&self.control, &self.data].into_iter().enumerate() {
            let mut on = |name, f: fn(&Flow, u32, JsValue)| {
                let flow = self.clone();
                handlers.push(Handler::new(channel, name, move |event| {
                    f(&flow, number as u32, event)
                }));
            };
            on("open", |flow, _, _| (flow.emit)(FlowNews::Opened));
            on("close", |flow, _, _| (flow.emit)(FlowNews::Gone));
            on("bufferedamountlow", |flow, _, _| flow.report_credit());
            on("message", |flow, number, event| {
                flow.received(number, event.unchecked_into::<MessageEvent>().data())
            });
        }
        handlers
    }

    /// Hears nothing any more; without this the channels and their handlers keep each other.
    pub fn forget(&self) {
        self.handlers.take();
    }

    /// Whether both channels are open.
    pub fn is_open(&self) -> bool {
        [&self.control, &self.data]
            .iter()
            .all(|c| c.ready_state() == RtcDataChannelState::Open)
    }

    fn received(&self, channel: u32, data: JsValue) {
        // A text message is nothing that Baton speaks: as an empty one, the engine refuses it with the reason.
        let data = match data.is_instance_of::<js_sys::ArrayBuffer>() {
            true => data,
            false => js_sys::ArrayBuffer::new(0).into(),
        };
        if self.announced.get() {
            (self.emit)(FlowNews::Received(channel, data));
        } else if self.early.borrow().len() < EARLY_MESSAGES_MAX {
            self.early.borrow_mut().push((channel, data));
        }
    }

    /// The engine knows of the connection: it may have what came, and hear what it may send.
    pub fn announce(&self) {
        self.announced.set(true);
        for (channel, data) in self.early.take() {
            (self.emit)(FlowNews::Received(channel, data));
        }
        self.report_credit();
    }

    /// Puts a message that is JavaScript's on a channel.
    pub fn send(&self, channel: u32, buffer: &js_sys::ArrayBuffer) -> Result<(), JsValue> {
        self.channel(channel).send_with_array_buffer(buffer)?;
        self.count(f64::from(buffer.byte_length()));
        Ok(())
    }

    /// Puts a message that is ours on a channel; the browser copies it.
    pub fn send_bytes(&self, channel: u32, bytes: &[u8]) -> Result<(), JsValue> {
        self.channel(channel).send_with_u8_array(bytes)?;
        self.count(bytes.len() as f64);
        Ok(())
    }

    fn channel(&self, number: u32) -> &RtcDataChannel {
        match number {
            0 => &self.control,
            _ => &self.data,
        }
    }

    fn count(&self, bytes: f64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// Absolute: what was sent, less what still waits, plus the window. A lost report is made good by the next.
    pub fn report_credit(&self) {
        let waiting =
            f64::from(self.control.buffered_amount()) + f64::from(self.data.buffered_amount());
        let credit = self.sent.get() - waiting + f64::from(SEND_WINDOW);
        if credit < self.credit_reported.get() + f64::from(SEND_WINDOW / 8) {
            return;
        }
        self.credit_reported.set(credit);
        (self.emit)(FlowNews::Credit(credit));
    }
}

impl Drop for Flow {
    /// Whoever is at the other end hears it, even if it is no connection of the page's that carries them.
    fn drop(&mut self) {
        self.control.close();
        self.data.close();
    }
}

/// How much may wait in a connection's channels, bytes. Chromium throws at 16 MiB and Firefox swallows without end;
/// a megabyte keeps a fast path busy and lets a cancel still matter.
const SEND_WINDOW: u32 = 1 << 20;
/// Messages kept between a channel's opening and the connection's announcement.
const EARLY_MESSAGES_MAX: usize = 64;
