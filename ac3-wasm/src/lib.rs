//! AC-3 and E-AC-3 (ETSI TS 102 366) become samples of two channels, which no browser does by itself. The decoder is `oxideav-ac3`'s.

use oxideav_core::{CodecId, CodecParameters, Decoder, Frame, Packet, TimeBase};
use wasm_bindgen::prelude::*;

/// The decoder of one track.
#[wasm_bindgen]
pub struct Ac3 {
    decoder: Option<Box<dyn Decoder>>,
    enhanced: bool,
}

#[wasm_bindgen]
impl Ac3 {
    /// `enhanced`: E-AC-3.
    #[wasm_bindgen(constructor)]
    pub fn new(enhanced: bool) -> Ac3 {
        Ac3 {
            decoder: made(enhanced),
            enhanced,
        }
    }

    /// What comes next does not follow what came before.
    pub fn restart(&mut self) {
        self.decoder = made(self.enhanced);
    }

    /// One frame: left and right in turn, 16 bits each, little-endian. `undefined`: it is broken.
    pub fn decode(&mut self, frame: Vec<u8>) -> Option<Vec<u8>> {
        let decoder = self.decoder.as_mut()?;
        // Times are the demuxer's affair.
        let packet = Packet::new(0, TimeBase::new(1, 48_000), frame).with_pts(0);
        decoder.send_packet(&packet).ok()?;
        match decoder.receive_frame().ok()? {
            Frame::Audio(sound) => sound.data.into_iter().next(),
            _ => None,
        }
    }
}

fn made(enhanced: bool) -> Option<Box<dyn Decoder>> {
    let id = CodecId::new(if enhanced { "eac3" } else { "ac3" });
    let mut parameters = CodecParameters::audio(id);
    // Downmixed as §7.8 says: what a browser plays to most people.
    parameters.channels = Some(2);
    let make = if enhanced {
        oxideav_ac3::decoder::make_eac3_decoder
    } else {
        oxideav_ac3::decoder::make_decoder
    };
    make(&parameters).ok()
}
