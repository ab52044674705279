//! AC-3 and E-AC-3 through the decoder that the browser's module has, beside ffmpeg's.

mod common;

use baton_ac3_wasm::Ac3;
use baton_media::{Decoded, Kind, SoundDecoder, TrackId};
use common::*;
use std::path::Path;
use std::process::Command;

/// `waits`: so many times it is not ready yet.
struct Real {
    decoder: Option<Ac3>,
    waits: u32,
}

impl SoundDecoder for Real {
    fn decode(&mut self, _: TrackId, enhanced: bool, fresh: bool, frame: &[u8]) -> Decoded {
        if self.waits > 0 {
            self.waits -= 1;
            return Decoded::Wait;
        }
        let decoder = self.decoder.get_or_insert_with(|| Ac3::new(enhanced));
        if fresh {
            decoder.restart();
        }
        decoder.decode(frame.to_vec()).map_or(Decoded::Broken, Decoded::Samples)
    }
}

/// Left and right in turn, as ffmpeg decodes it.
fn samples(path: &Path, more: &[&str]) -> Vec<f64> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-drc_scale", "0", "-i"])
        .arg(path)
        .args(["-vn"])
        .args(more)
        .args(["-f", "s16le", "-"])
        .output()
        .expect("ffmpeg");
    out.stdout.chunks_exact(2).map(|c| f64::from(i16::from_le_bytes([c[0], c[1]]))).collect()
}

/// How far above the difference the sound is, in dB.
fn likeness(ours: &[f64], theirs: &[f64]) -> f64 {
    let power: f64 = theirs.iter().map(|v| v * v).sum();
    let off: f64 = ours.iter().zip(theirs).map(|(a, b)| (a - b) * (a - b)).sum();
    10.0 * (power / off.max(1.0)).log10()
}

const FILM: &str = "-ss 2 -t 5 -i BBB -vf scale=320:180 -c:v libx264 -preset veryfast";

#[test]
fn ac3_becomes_flac_that_sounds_like_what_ffmpeg_decodes() {
    for (name, args) in [
        ("decoded.mkv", "-c:a ac3 -ac 2"),
        ("decoded.mp4", "-c:a ac3 -ac 2 -b:a 448k"),
        ("decoded-e.mkv", "-c:a eac3 -ac 2"),
        ("decoded-e.mp4", "-c:a eac3 -ac 2 -ar 44100"),
        // So many bits that a frame has half a sample's sound.
        ("decoded-parts.mp4", "-c:a eac3 -ac 2 -b:a 2000k"),
        ("decoded.ts", "-c:a ac3 -ac 2"),
    ] {
        let path = clip(name, &format!("{FILM} {args}"));
        let mut feeder = Feeder::new(read(&path));
        feeder.media.set_decoder(Box::new(Real { decoder: None, waits: 0 }));
        feeder.play(7);
        assert!(feeder.played.failed.is_none(), "{name}: {:?}", feeder.played.failed);
        let track = feeder.played.first(Kind::Audio).expect("sound");
        assert_eq!(
            feeder.played.info.as_ref().expect("ready").tracks[track.0 as usize].mime,
            "audio/mp4; codecs=\"flac\""
        );
        let out = scratch(&format!("{name}.flac.mp4"));
        feeder.played.write(track, &out);
        let (ours, theirs) = (samples(&out, &[]), samples(&path, &[]));
        let length = ours.len().min(theirs.len());
        assert!(length > theirs.len() * 95 / 100, "{name}: {} of {}", ours.len(), theirs.len());
        let likeness = likeness(&ours[..length], &theirs[..length]);
        println!("{name}: {likeness:.1} dB");
        assert!(likeness > 40.0, "{name}: {likeness} dB");
    }
}

/// Both mix by the same matrix, but for how loud all of it is: that, and the likeness beside it.
fn mixed(name: &str, codec: &str) -> (f64, f64) {
    let path = clip(name, &format!("{FILM} {codec}"));
    let mut feeder = Feeder::new(read(&path));
    feeder.media.set_decoder(Box::new(Real { decoder: None, waits: 0 }));
    feeder.play(7);
    let track = feeder.played.first(Kind::Audio).expect("sound");
    let out = scratch(&format!("{name}.flac.mp4"));
    feeder.played.write(track, &out);
    let (ours, theirs) = (samples(&out, &[]), samples(&path, &["-ac", "2"]));
    let length = ours.len().min(theirs.len());
    assert!(length > theirs.len() * 95 / 100, "{name}: {} of {}", ours.len(), theirs.len());
    let gain: f64 = ours.iter().zip(&theirs).map(|(a, b)| a * b).sum::<f64>() / ours.iter().map(|v| v * v).sum::<f64>();
    let ours: Vec<f64> = ours[..length].iter().map(|v| v * gain).collect();
    let likeness = likeness(&ours, &theirs[..length]);
    println!("{name}: {likeness:.1} dB, gain {gain:.2}");
    (likeness, gain)
}

#[test]
fn five_loudspeakers_become_two() {
    let (likeness, gain) = mixed("decoded-51.mkv", "-c:a ac3 -ac 6 -b:a 448k");
    assert!((0.5..2.0).contains(&gain) && likeness > 15.0, "{likeness} dB, gain {gain}");
}

#[test]
fn one_loudspeaker_becomes_two() {
    for (name, codec) in [
        ("decoded-1.mkv", "-c:a ac3 -ac 1"),
        ("decoded-1.mp4", "-c:a ac3 -ac 1 -ar 44100"),
        ("decoded-1e.mkv", "-c:a eac3 -ac 1"),
    ] {
        let (likeness, gain) = mixed(name, codec);
        assert!((0.5..2.0).contains(&gain) && likeness > 40.0, "{name}: {likeness} dB, gain {gain}");
    }
}

#[test]
fn a_decoder_that_comes_late_costs_nothing_but_time() {
    let path = clip("decoded.mkv", &format!("{FILM} -c:a ac3 -ac 2"));
    let play = |waits: u32| {
        let mut feeder = Feeder::new(read(&path));
        feeder.media.set_decoder(Box::new(Real { decoder: None, waits }));
        for _ in 0..=waits {
            feeder.media.wake();
            feeder.drain();
            while feeder.hand_most_urgent() {
                feeder.drain();
            }
        }
        feeder.play(1);
        let track = feeder.played.first(Kind::Audio).expect("sound");
        let out = scratch(&format!("late-{waits}.mp4"));
        feeder.played.write(track, &out);
        samples(&out, &[])
    };
    assert!(play(0).len() > 400_000);
    assert_eq!(play(0), play(3));
}
