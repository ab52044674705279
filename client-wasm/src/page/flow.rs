//! A connection's two channels: messages in and out, and how much more may be sent.

use crate::bridge::{HOT_CREDIT, HOT_RECEIVED, StreamNumber};
use crate::door;
use js_sys::Array;
use std::cell::{Cell, RefCell};
use wasm_bindgen::prelude::*;
use web_sys::{RtcDataChannel, RtcDataChannelState, RtcDataChannelType, Worker};

/// A connection's two channels, what has been sent on them, and how much more may be.
///
/// Messages are passed to the worker by transfer from the very callback that brings them, past every borrow.
pub struct Flow {
    stream: StreamNumber,
    conn: u64,
    worker: Worker,
    pub control: RtcDataChannel,
    pub data: RtcDataChannel,
    /// The worker has been told of the connection; until then messages wait in `early`.
    announced: Cell<bool>,
    early: RefCell<Vec<(u32, JsValue)>>,
    /// Bytes put on both channels since they opened.
    sent: Cell<f64>,
    credit_reported: Cell<f64>,
}

impl Flow {
    pub fn new(
        stream: StreamNumber,
        conn: u64,
        worker: Worker,
        control: RtcDataChannel,
        data: RtcDataChannel,
    ) -> Flow {
        for channel in [&control, &data] {
            channel.set_binary_type(RtcDataChannelType::Arraybuffer);
            channel.set_buffered_amount_low_threshold(SEND_WINDOW / 2);
        }
        Flow {
            stream,
            conn,
            worker,
            control,
            data,
            announced: Cell::new(false),
            early: RefCell::default(),
            sent: Cell::new(0.0),
            credit_reported: Cell::new(0.0),
        }
    }

    pub fn open(&self) -> bool {
        [&self.control, &self.data]
            .iter()
            .all(|c| c.ready_state() == RtcDataChannelState::Open)
    }

    pub fn received(&self, channel: u32, data: JsValue) {
        // A text message is nothing that Baton speaks: as an empty one, the engine refuses it with the reason.
        let data = match data.is_instance_of::<js_sys::ArrayBuffer>() {
            true => data,
            false => js_sys::ArrayBuffer::new(0).into(),
        };
        if !self.announced.get() {
            let mut early = self.early.borrow_mut();
            if early.len() < EARLY_MESSAGES_MAX {
                early.push((channel, data));
            }
            return;
        }
        self.forward(channel, data);
    }

    pub fn forward(&self, channel: u32, data: JsValue) {
        let message = door::array(&[
            HOT_RECEIVED.into(),
            self.stream.into(),
            (self.conn as f64).into(),
            channel.into(),
            data.clone(),
        ]);
        let _ = self
            .worker
            .post_message_with_transfer(&message, &Array::of1(&data));
    }

    pub fn announce(&self) {
        self.announced.set(true);
        for (channel, data) in self.early.take() {
            self.forward(channel, data);
        }
        self.report_credit();
    }

    pub fn send(&self, channel: u32, buffer: &js_sys::ArrayBuffer) -> Result<(), JsValue> {
        let target = if channel == 0 {
            &self.control
        } else {
            &self.data
        };
        target.send_with_array_buffer(buffer)?;
        self.sent
            .set(self.sent.get() + f64::from(buffer.byte_length()));
        Ok(())
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
        let message = door::array(&[
            HOT_CREDIT.into(),
            self.stream.into(),
            (self.conn as f64).into(),
            credit.into(),
        ]);
        let _ = self.worker.post_message(&message);
    }
}

/// How much may wait in a connection's channels, bytes. Chromium throws at 16 MiB and Firefox swallows without end;
/// half a megabyte keeps a fast path busy and lets a cancel still matter.
const SEND_WINDOW: u32 = 1 << 20;
/// Messages kept between a channel's opening and the connection's announcement.
const EARLY_MESSAGES_MAX: usize = 64;
