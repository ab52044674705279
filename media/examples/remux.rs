//! `cargo run --release -p baton-media --example remux -- FILE [SECONDS]`: remuxes each selected track to
//! `FILE.trackN.mp4` (or `.webm`, `.mp3`) and prints how fast. With SECONDS it seeks there first.

use baton_media::{Media, Output, Support};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("usage: remux FILE [SECONDS]");
    let from: Option<f64> = args.next().and_then(|s| s.parse().ok());
    let file = Bytes::from(std::fs::read(&path).expect("readable file"));
    let mut media = Media::new(file.len() as u64, Some(&path), Support { mp3_in_mp4: true });
    let mut tracks: BTreeMap<u32, (String, Vec<Bytes>)> = BTreeMap::new();
    let started = Instant::now();
    let (mut fed, mut made, mut first) = (0, 0, None);
    if let Some(from) = from {
        media.seek((from * 1e6) as u64);
    }
    media.set_playhead(0, 0);
    let mut playhead = 0;
    let mut open = 0;
    loop {
        while let Some(output) = media.poll_output() {
            match output {
                Output::Ready(info) => {
                    eprintln!("{:?} {:?}", info.container, info.duration_us);
                    for track in info.tracks.iter().filter(|_| std::env::var_os("DRY").is_none()) {
                        eprintln!("  {track:?}");
                    }
                }
                Output::Init { track, bytes } => {
                    open += 1;
                    let mime = &media.info().expect("ready").tracks[track.0 as usize].mime;
                    let ending = if mime.contains("webm") {
                        "webm"
                    } else if mime == "audio/mpeg" {
                        "mp3"
                    } else {
                        "mp4"
                    };
                    tracks.insert(track.0, (ending.into(), vec![bytes]));
                }
                Output::Segment { track, bytes, start_us, end_us, .. } => {
                    first.get_or_insert((started.elapsed(), fed));
                    if std::env::var_os("SEGMENTS").is_some() {
                        eprintln!("  {} {start_us}..{end_us} {}", track.0, bytes.len());
                    }
                    made += bytes.len();
                    tracks.get_mut(&track.0).expect("init came first").1.push(bytes);
                }
                Output::EndOfTrack { .. } => open -= 1,
                other => eprintln!("{other:?}"),
            }
        }
        let demands = media.demands();
        if demands.is_empty() {
            if open <= 0 || playhead > 1 << 40 {
                break;
            }
            playhead += 5_000_000;
            media.set_playhead(playhead, playhead + 10_000_000);
            continue;
        }
        for demand in demands.into_iter().take(16) {
            let (start, end) =
                (demand.range.start as usize, demand.range.end.min(demand.range.start + (1 << 20)) as usize);
            fed += end - start;
            media.handle_bytes(start as u64, file.slice(start..end));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "first segment after {first:?} (time, bytes); {fed} bytes in, {made} out, {:.0} MB/s",
        fed as f64 / seconds / 1e6
    );
    // Only to measure.
    if std::env::var_os("DRY").is_some() {
        return;
    }
    for (track, (ending, parts)) in tracks {
        let name = format!("{path}.track{track}.{ending}");
        let mut out = std::fs::File::create(&name).expect("writable");
        parts.iter().for_each(|part| out.write_all(part).expect("written"));
        println!("{name}");
    }
}
