//! AC-3 and E-AC-3 (ETSI TS 102 366) become samples of two channels, which no browser does by itself. The decoder is `oxideav-ac3`'s.

use oxideav_core::{CodecId, CodecParameters, Decoder, Frame, Packet, TimeBase};
use wasm_bindgen::prelude::*;

/// The decoder of one track.
#[wasm_bindgen]
pub struct Ac3 {
    decoder: Option<Box<dyn Decoder>>,
    enhanced: bool,
    /// It has one channel. Mixed to two by the decoder (0.0.11) that is silence, so we do it.
    mono: bool,
}

#[wasm_bindgen]
impl Ac3 {
    /// `enhanced`: E-AC-3.
    #[wasm_bindgen(constructor)]
    pub fn new(enhanced: bool) -> Ac3 {
        Ac3 {
            decoder: made(enhanced, false),
            enhanced,
            mono: false,
        }
    }

    /// What comes next does not follow what came before.
    pub fn restart(&mut self) {
        self.decoder = made(self.enhanced, self.mono);
    }

    /// One frame: left and right in turn, 16 bits each, little-endian. `undefined`: it is broken.
    pub fn decode(&mut self, frame: Vec<u8>) -> Option<Vec<u8>> {
        let mono = is_mono(&frame)?;
        if mono != self.mono {
            self.mono = mono;
            self.restart();
        }
        let decoder = self.decoder.as_mut()?;
        // Times are the demuxer's affair.
        let packet = Packet::new(0, TimeBase::new(1, 48_000), frame).with_pts(0);
        decoder.send_packet(&packet).ok()?;
        match decoder.receive_frame().ok()? {
            Frame::Audio(sound) if mono => twice(sound.data.first()?, sound.samples as usize),
            Frame::Audio(sound) => sound.data.into_iter().next(),
            _ => None,
        }
    }
}

/// `acmod` (§5.4.2.3, E.1.3.1.7); the version is at the same place in both.
fn is_mono(frame: &[u8]) -> Option<bool> {
    let version = frame.get(5)? >> 3;
    let mode = match version > 10 {
        true => frame[4] >> 1 & 7,
        false => frame.get(6)? >> 5,
    };
    Some(mode == 1)
}

/// The first channel (the other one, if there is one, is for low frequencies) to both sides.
fn twice(data: &[u8], samples: usize) -> Option<Vec<u8>> {
    let unit = data.len().checked_div(samples)?;
    let firsts = data.chunks_exact(unit.max(2));
    Some(
        firsts
            .flat_map(|all| [all[0], all[1], all[0], all[1]])
            .collect(),
    )
}

fn made(enhanced: bool, mono: bool) -> Option<Box<dyn Decoder>> {
    let id = CodecId::new(if enhanced { "eac3" } else { "ac3" });
    let mut parameters = CodecParameters::audio(id);
    // Downmixed as §7.8 says: what a browser plays to most people.
    parameters.channels = (!mono).then_some(2);
    let make = if enhanced {
        oxideav_ac3::decoder::make_eac3_decoder
    } else {
        oxideav_ac3::decoder::make_decoder
    };
    make(&parameters).ok()
}
