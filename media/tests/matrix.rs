//! Every sample's time, size, sync flag and bytes against ffprobe, over containers × codecs × ways to write them.

mod common;

use baton_media::{Container, Kind};
use common::*;
use std::path::Path;

/// How the test film is cut small: 5 s of 240p.
const FILM: &str = "-ss 2 -t 5 -i BBB -vf scale=426:240 -ac 2";
const X264: &str = "-c:v libx264 -preset veryfast -g 48 -bf 3 -c:a aac";

#[derive(Default)]
struct Case {
    tolerance_s: f64,
    /// Another file with the same pictures, where ffprobe misreads this one; and one with the same sound.
    judge: Option<std::path::PathBuf>,
    judge_sound: Option<std::path::PathBuf>,
    /// Where ffprobe does not say when the sound begins.
    zero: Option<f64>,
    /// The first packet gives no sound but is put out: Vorbis overlaps.
    keep_priming: bool,
    /// ffmpeg adds the encoder's letter to sync samples on the way into a transport stream.
    letters: bool,
}

/// Plays a clip with blocks in random order and compares both tracks with the source.
fn check(path: &Path, container: Container, video: Option<&str>, audio: Option<&str>) {
    check_with(path, container, video, audio, &Case { tolerance_s: 0.0011, ..Case::default() });
}

fn check_with(path: &Path, container: Container, video: Option<&str>, audio: Option<&str>, case: &Case) {
    let mut feeder = Feeder::new(read(path));
    feeder.play(7);
    let played = &feeder.played;
    assert!(played.failed.is_none(), "{path:?}: {:?}", played.failed);
    let info = played.info.as_ref().expect("ready");
    assert_eq!(info.container, container);
    let judge = case.judge.as_deref().unwrap_or(path);
    let (source_video, _) = packets(judge, "v:0");
    let (source_audio, _) = packets(case.judge_sound.as_deref().unwrap_or(path), "a:0");
    let first = |list: &[Packet]| list.iter().filter(|p| !p.discard).map(|p| p.pts).fold(f64::NAN, f64::min);
    let heard =
        source_audio.iter().find(|p| p.pts + p.duration.max(0.001) > 0.0005).map_or(f64::NAN, |p| p.pts.max(0.0));
    // The film's zero: the first picture, or the sound if that comes earlier.
    let zero = if let Some(zero) = case.zero {
        zero
    } else if video.is_some() {
        first(&source_video).min(if audio.is_some() { heard } else { f64::NAN })
    } else {
        heard
    };
    if let Some(codec) = video {
        let track = played.first(Kind::Video).expect("a video track");
        assert_eq!(info.tracks[track.0 as usize].codec, codec);
        compare(path, &feeder.played, track, "v:0", &source_video, zero, case);
    }
    if let Some(codec) = audio {
        let track = played.first(Kind::Audio).expect("an audio track");
        assert_eq!(info.tracks[track.0 as usize].codec, codec);
        let source: Vec<Packet> = source_audio
            .into_iter()
            .filter(|p| case.keep_priming || p.pts + p.duration.max(0.001) - zero > 0.0005)
            .collect();
        compare(path, &feeder.played, track, "a:0", &source, zero, case);
    }
}

fn compare(
    path: &Path,
    played: &Played,
    track: baton_media::TrackId,
    stream: &str,
    source: &[Packet],
    zero: f64,
    case: &Case,
) {
    let mime = &played.info.as_ref().expect("ready").tracks[track.0 as usize].mime;
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let out = scratch(&format!("{name}.{}.{}", track.0, if mime.contains("webm") { "webm" } else { "mp4" }));
    played.write(track, &out);
    let (ours, complaints) = packets(&out, &stream.replace(":1", ":0"));
    assert_eq!(complaints, "", "{out:?}");
    let segments = &played.segments[&track];
    assert_eq!(segments[0].start_us, 0, "{name}: presentation starts at 0");
    assert!(segments[0].random_access);
    let times: Vec<f64> = match mime.contains("webm") {
        true => ours.iter().map(|p| p.pts).collect(),
        false => mp4_times(&played.inits[&track], segments).into_iter().map(|t| t.0).collect(),
    };
    let sound = stream == "a:0";
    let mut due = source.iter().enumerate().peekable();
    let mut taken: Vec<Taken> = Vec::new();
    for (ours, is) in ours.iter().zip(times) {
        // Where the source has no sound there is silence, so that no browser plays what follows too early.
        if sound && due.peek().is_none_or(|(_, source)| source.hash != ours.hash) && is_silent(ours, mime) {
            continue;
        }
        let Some((i, source)) = due.next() else { panic!("{name} {stream}: more than the source has, at {is}") };
        assert_eq!(ours.key, source.key, "{name} {stream} #{i}");
        if !(case.letters && ours.key && !sound) {
            assert_eq!((ours.size, &ours.hash), (source.size, &source.hash), "{name} {stream} #{i}");
        }
        let should = source.pts - zero;
        let first = i == 0 && (!sound || should < 0.05);
        let stretched = first || source.discard || (case.keep_priming && case.zero.is_none() && i == 1);
        assert!(
            stretched || (is - should).abs() <= case.tolerance_s,
            "{name} {stream} #{i}: at {is}, should be {should}"
        );
        assert!(!stretched || is < 0.05, "{name} {stream} #{i}: at {is}");
        taken.push(Taken { packet: ours.clone(), at_s: (!stretched).then_some(is) });
    }
    assert_eq!(due.count(), 0, "{name} {stream} ends too early");
    let container = played.info.as_ref().expect("ready").container;
    ask_others(path, stream, container == Container::FragmentedMp4, &taken, case);
    if !sound && !mime.contains("webm") {
        lasts_until_next(&name, &mp4_times(&played.inits[&track], segments));
    }
    if sound && !mime.contains("webm") && !mime.contains("c-3") {
        let lasts = mp4_times(&played.inits[&track], segments).into_iter().map(|(_, duration)| duration);
        let (shortest, longest) = lasts.skip(1).fold((1.0, 0.0), |(a, b): (f64, f64), d| (a.min(d), b.max(d)));
        assert!(longest < 0.1 || longest < 1.6 * shortest, "{name}: one frame lasts {longest} s");
    }
}

/// One sample that came out.
struct Taken {
    packet: Packet,
    /// When it is shown, where that was not changed for the film's beginning.
    at_s: Option<f64>,
}

/// What the other demuxers do not read, in their words: fragments that count from the file's beginning, `stz2`, QuickTime's sound.
const REFUSED: [&str; 3] =
    ["absolute base_data_offset is not supported", "Missing mandatory 'stsz' box", "[mp4a] InsufficientBuffer"];

/// What came out is what two other demuxers see, one after the other: from the first that is not before the film's beginning.
fn ask_others(path: &Path, stream: &str, fragmented: bool, ours: &[Taken], case: &Case) {
    let name = path.file_name().expect("a name").to_string_lossy();
    let theirs = match second::opinion(path, stream.starts_with('v'), fragmented) {
        None => return,
        Some(Ok(theirs)) => theirs,
        Some(Err(why)) => {
            assert!(REFUSED.iter().any(|it| why.contains(it)), "{name} {stream}: another demuxer says {why}");
            return;
        }
    };
    let skipped = theirs.len().checked_sub(ours.len()).unwrap_or_else(|| panic!("{name} {stream}: others see less"));
    let mut apart_s: Option<f64> = None;
    for (i, (ours, theirs)) in ours.iter().zip(&theirs[skipped..]).enumerate() {
        let Taken { packet, at_s } = ours;
        assert_eq!(
            (packet.size, &packet.hash),
            (theirs.size, &theirs.hash),
            "{name} {stream} #{i}, {skipped} before it"
        );
        assert!(theirs.key.is_none_or(|key| key == packet.key), "{name} {stream} #{i}: {packet:?} {theirs:?}");
        if let Some(at_s) = at_s {
            let now_s = theirs.at_s - at_s;
            let first_s = *apart_s.get_or_insert(now_s);
            assert!(
                (now_s - first_s).abs() <= 2.0 * case.tolerance_s,
                "{name} {stream} #{i}: {now_s} s apart, first {first_s}"
            );
        }
    }
}

/// Each picture lasts until the next one is shown, whatever the order of decoding: browsers look for the one that is due by that.
fn lasts_until_next(name: &str, pictures: &[(f64, f64)]) {
    let mut shown = pictures.to_vec();
    shown.sort_by(|a, b| a.0.total_cmp(&b.0));
    for pair in shown.windows(2) {
        let (at, lasts) = pair[0];
        assert!(
            (pair[1].0 - at - lasts).abs() < 0.0015,
            "{name}: the picture at {at} lasts {lasts} s, the next is at {}",
            pair[1].0
        );
    }
}

/// MP3's keep the size of what they stand beside.
fn is_silent(packet: &Packet, mime: &str) -> bool {
    packet.size < 30 || mime.contains("mp3")
}

fn mp4(name: &str, args: &str, video: Option<&str>, audio: Option<&str>) {
    check(&clip(name, args), Container::Mp4, video, audio);
}

#[test]
fn mp4_with_wide_sizes_and_offsets_and_an_open_end() {
    let plain = clip("copy-end.mp4", "-t 6 -i BBB -c copy");
    // ffmpeg leaves eight bytes before mdat for exactly this.
    let wide = rewrite(&read(&plain), &|kind, body| match kind {
        b"free" => Some((Vec::new(), Vec::new())),
        b"mdat" => {
            Some(([&1u32.to_be_bytes()[..], b"mdat", &(body.len() as u64 + 16).to_be_bytes()].concat(), body.to_vec()))
        }
        b"stco" => {
            let words = body[8..].chunks(4).flat_map(|w| [&[0; 4], w].concat());
            let new: Vec<u8> = body[..8].iter().copied().chain(words).collect();
            Some(([&(new.len() as u32 + 8).to_be_bytes()[..], b"co64"].concat(), new))
        }
        _ => None,
    });
    let path = scratch("wide.mp4");
    std::fs::write(&path, wide).expect("writable");
    check(&path, Container::Mp4, Some("avc1.64001E"), AAC);
    let plain = clip("copy-start.mp4", "-t 6 -i BBB -c copy -movflags +faststart");
    let open =
        rewrite(&read(&plain), &|kind, body| (kind == b"mdat").then(|| (b"\0\0\0\0mdat".to_vec(), body.to_vec())));
    let path = scratch("open.mp4");
    std::fs::write(&path, open).expect("writable");
    check(&path, Container::Mp4, Some("avc1.64001E"), AAC);
}

const AAC: Option<&str> = Some("mp4a.40.2");

#[test]
fn mp4_with_moov_at_the_start() {
    mp4("copy-start.mp4", "-t 6 -i BBB -c copy -movflags +faststart", Some("avc1.64001E"), AAC);
}

#[test]
fn mp4_with_moov_at_the_end() {
    mp4("copy-end.mp4", "-t 6 -i BBB -c copy", Some("avc1.64001E"), AAC);
}

#[test]
fn mp4_with_deep_b_frames() {
    mp4(
        "b.mp4",
        &format!("{FILM} -c:v libx264 -preset veryfast -bf 8 -b_strategy 2 -g 60 -c:a aac"),
        Some("avc1.640015"),
        AAC,
    );
}

#[test]
fn mp4_with_negative_composition_offsets() {
    mp4("neg.mp4", &format!("{FILM} {X264} -movflags +negative_cts_offsets"), Some("avc1.640015"), AAC);
}

#[test]
fn mp4_baseline_without_reordering() {
    let args = format!("{FILM} -c:v libx264 -preset veryfast -profile:v baseline -g 24 -c:a aac");
    mp4("base.mp4", &args, Some("avc1.42C015"), AAC);
}

#[test]
fn mp4_cut_between_key_frames() {
    let path = clip("cut.mp4", "-ss 3.3 -t 4 -i BBB -c copy");
    // The cut falls between two pictures; ffprobe moves the later one to 0, we leave it where the edit puts it.
    check_with(&path, Container::Mp4, Some("avc1.64001E"), AAC, &Case { tolerance_s: 0.042, ..Case::default() });
}

#[test]
fn mp4_with_sound_that_comes_late() {
    let args = format!("{FILM} {X264} -t 4 DIR-less").replace(" DIR-less", "");
    let film = clip("plain.mp4", &args);
    let film = film.display();
    mp4(
        "late-sound.mp4",
        &format!("-i {film} -itsoffset 0.7 -i {film} -map 0:v -map 1:a -c copy"),
        Some("avc1.640015"),
        AAC,
    );
    mp4(
        "late-picture.mp4",
        &format!("-itsoffset 0.5 -i {film} -i {film} -map 0:v -map 1:a -c copy"),
        Some("avc1.640015"),
        AAC,
    );
}

#[test]
fn mp4_with_variable_frame_rate() {
    let args =
        format!("-t 5 -i BBB -vf scale=320:180,select='not(mod(n\\,5))+lt(mod(n\\,40)\\,11)' -vsync vfr {X264} -ac 2");
    mp4("vfr.mp4", &args, Some("avc1.64000C"), AAC);
}

#[test]
fn mp4_with_hevc() {
    let args =
        format!("{FILM} -c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=4 -tag:v hvc1 -c:a aac");
    mp4("hevc.mp4", &args, Some("hvc1.1.6.L60.90"), AAC);
}

#[test]
fn mp4_with_av1_and_opus() {
    let args = "-ss 2 -t 3 -i BBB -vf scale=320:180 -ac 2 -c:v libsvtav1 -preset 12 -c:a libopus";
    mp4("av1.mp4", args, Some("av01.0.00M.08"), Some("opus"));
}

#[test]
fn mp4_with_vp9_and_flac() {
    let args =
        "-ss 2 -t 4 -i BBB -vf scale=320:180 -ac 2 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a flac -strict -2";
    mp4("vp9.mp4", args, Some("vp09.00.11.08"), Some("flac"));
}

#[test]
fn mp4_with_mp3_and_with_ac3() {
    mp4("mp3.mp4", &format!("{FILM} -c:v libx264 -preset veryfast -c:a libmp3lame"), Some("avc1.640015"), Some("mp3"));
    mp4("ac3.mp4", &format!("{FILM} -c:v libx264 -preset veryfast -c:a ac3"), Some("avc1.640015"), Some("ac-3"));
    mp4("eac3.mp4", &format!("{FILM} -c:v libx264 -preset veryfast -c:a eac3"), Some("avc1.640015"), Some("ec-3"));
}

#[test]
fn mp4_with_only_sound_or_only_pictures() {
    mp4("sound.m4a", "-t 5 -i BBB -vn -ac 2 -c:a aac", None, AAC);
    mp4("silent.mp4", &format!("{FILM} -an -c:v libx264 -preset veryfast -bf 3"), Some("avc1.640015"), None);
}

#[test]
fn quicktime_with_aac_and_with_sound_that_nobody_plays() {
    mp4("qt.mov", &format!("{FILM} {X264}"), Some("avc1.640015"), AAC);
    mp4("ima4.mov", &format!("{FILM} -c:v libx264 -preset veryfast -c:a adpcm_ima_qt"), Some("avc1.640015"), None);
}

#[test]
fn mp4_with_all_intra_pictures_and_no_sync_table() {
    mp4("intra.mp4", &format!("{FILM} -c:v libx264 -preset veryfast -g 1 -c:a aac"), Some("avc1.641015"), AAC);
}

fn fragmented(name: &str, args: &str, video: &str, audio: &str) {
    check(&clip(name, args), Container::FragmentedMp4, Some(video), Some(audio));
}

#[test]
fn fragmented_by_key_frame_by_time_and_by_track() {
    let film = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    let copy = format!("-i {} -c copy -movflags", film.display());
    let avc = "avc1.640015";
    fragmented("frag-key.mp4", &format!("{copy} +frag_keyframe+empty_moov+default_base_moof"), avc, "mp4a.40.2");
    fragmented("frag-old.mp4", &format!("{copy} +frag_keyframe+empty_moov"), avc, "mp4a.40.2");
    fragmented(
        "frag-sidx.mp4",
        &format!("{copy} +frag_keyframe+empty_moov+default_base_moof+global_sidx"),
        avc,
        "mp4a.40.2",
    );
    fragmented("frag-time.mp4", &format!("{copy} +empty_moov -frag_duration 300000"), avc, "mp4a.40.2");
    fragmented("frag-apart.mp4", &format!("{copy} +frag_keyframe+empty_moov+separate_moof"), avc, "mp4a.40.2");
    fragmented("frag-dash.mp4", &format!("{copy} +dash+frag_keyframe+empty_moov+skip_trailer"), avc, "mp4a.40.2");
    let cmaf = clip("frag-neg.mp4", &format!("{copy} +cmaf+frag_keyframe+negative_cts_offsets"));
    // ffprobe shifts what has negative offsets, fragment by fragment: the film it was made of is the judge.
    let case = Case { tolerance_s: 0.0011, judge: Some(film), ..Case::default() };
    check_with(&cmaf, Container::FragmentedMp4, Some(avc), AAC, &case);
}

fn mkv(name: &str, args: &str, video: Option<&str>, audio: Option<&str>) {
    let container = if name.ends_with("webm") { Container::WebM } else { Container::Matroska };
    // Sound is counted smooth where Matroska rounds to the millisecond.
    check_with(&clip(name, args), container, video, audio, &Case { tolerance_s: 0.0026, ..Case::default() });
}

const VPX: &str = "-deadline realtime -cpu-used 8 -b:v 300k -g 48";

#[test]
fn webm_with_vp9_and_opus() {
    let film = "-ss 2 -t 5 -i BBB -vf scale=320:180 -ac 2";
    mkv("vp9.webm", &format!("{film} -c:v libvpx-vp9 {VPX} -c:a libopus"), Some("vp09.00.11.08"), Some("opus"));
    mkv(
        "vp9-front.webm",
        &format!("{film} -c:v libvpx-vp9 {VPX} -c:a libopus -cues_to_front 1"),
        Some("vp09.00.11.08"),
        Some("opus"),
    );
    mkv(
        "vp9-live.webm",
        &format!("{film} -c:v libvpx-vp9 {VPX} -c:a libopus -live 1 -cluster_time_limit 700"),
        Some("vp09.00.11.08"),
        Some("opus"),
    );
}

#[test]
fn webm_with_vp8_and_vorbis_stays_webm() {
    let film = "-ss 2 -t 5 -i BBB -vf scale=320:180 -ac 2";
    mkv("vp8.webm", &format!("{film} -c:v libvpx {VPX} -c:a libvorbis"), Some("vp8"), Some("vorbis"));
}

#[test]
fn webm_with_av1() {
    let film = "-ss 2 -t 3 -i BBB -vf scale=320:180 -ac 2";
    mkv("av1.webm", &format!("{film} -c:v libsvtav1 -preset 12 -c:a libopus"), Some("av01.0.00M.08"), Some("opus"));
}

#[test]
fn matroska_with_h264_gets_its_decode_times_back() {
    mkv("h264.mkv", &format!("{FILM} {X264}"), Some("avc1.640015"), AAC);
    mkv(
        "h264-b8.mkv",
        &format!("{FILM} -c:v libx264 -preset veryfast -bf 8 -b_strategy 2 -g 60 -c:a ac3"),
        Some("avc1.640015"),
        Some("ac-3"),
    );
    mkv("copy.mkv", "-t 6 -i BBB -c copy", Some("avc1.64001E"), AAC);
}

#[test]
fn matroska_with_hevc_flac_and_mp3() {
    let args = format!("{FILM} -c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=4 -c:a flac");
    mkv("hevc.mkv", &args, Some("hvc1.1.6.L60.90"), Some("flac"));
    mkv("mp3.mkv", &format!("{FILM} -c:v libx264 -preset veryfast -c:a libmp3lame"), Some("avc1.640015"), Some("mp3"));
    mkv("eac3.mkv", &format!("{FILM} -c:v libx264 -preset veryfast -c:a eac3"), Some("avc1.640015"), Some("ec-3"));
    mkv("opus.mkv", &format!("{FILM} -c:v libx264 -preset veryfast -c:a libopus"), Some("avc1.640015"), Some("opus"));
}

#[test]
fn matroska_with_sound_only() {
    mkv("sound.mka", "-t 5 -i BBB -vn -ac 2 -c:a aac", None, AAC);
    mkv("sound.webm", "-t 5 -i BBB -vn -ac 2 -c:a libopus", None, Some("opus"));
}

fn sound(name: &str, args: &str, container: Container, codec: &str) {
    let path = clip(name, args);
    check_with(&path, container, None, Some(codec), &Case { tolerance_s: 0.0011, ..Case::default() });
}

const SONG: &str = "-t 5 -i BBB -vn -ac 2";

#[test]
fn mp3_and_adts_files() {
    // ffprobe counts from the first frame; the encoder's and the decoder's delay come before the sound.
    let delayed = || Case { tolerance_s: 0.0011, zero: Some(1105.0 / 48_000.0), ..Case::default() };
    let path = clip("song.mp3", &format!("{SONG} -c:a libmp3lame -b:a 128k"));
    check_with(&path, Container::Mp3, None, Some("mp3"), &delayed());
    let path = clip("song-vbr.mp3", &format!("{SONG} -c:a libmp3lame -q:a 4 -id3v2_version 3"));
    check_with(&path, Container::Mp3, None, Some("mp3"), &delayed());
    sound(
        "song-bare.mp3",
        &format!("{SONG} -c:a libmp3lame -b:a 96k -ar 22050 -write_xing 0 -id3v2_version 0"),
        Container::Mp3,
        "mp3",
    );
    // ffprobe shows ADTS frames with their headers: the same song in MP4 is the judge.
    let m4a = clip("song.m4a", &format!("{SONG} -c:a aac"));
    let adts = clip("song.aac", &format!("-i {} -c copy", m4a.display()));
    let raw = clip("song-raw.mka", &format!("-i {} -c copy", adts.display()));
    let case = Case { tolerance_s: 0.0011, judge_sound: Some(raw), ..Case::default() };
    check_with(&adts, Container::Adts, None, AAC, &case);
}

#[test]
fn flac_and_ogg_files() {
    sound("song.flac", &format!("{SONG} -c:a flac"), Container::Flac, "flac");
    sound("song.opus", &format!("{SONG} -c:a libopus"), Container::Ogg, "opus");
    let path = clip("song.ogg", &format!("{SONG} -c:a libvorbis"));
    let case = Case { tolerance_s: 0.0031, keep_priming: true, ..Case::default() };
    check_with(&path, Container::Ogg, None, Some("vorbis"), &case);
    sound("song-flac.ogg", &format!("{SONG} -c:a flac"), Container::Ogg, "flac");
}

/// Raw sound leaves as FLAC: what ffmpeg makes of both is the same, sample by sample.
fn same_samples(path: &Path, format: &str) {
    let mut feeder = Feeder::new(read(path));
    feeder.play(3);
    assert!(feeder.played.failed.is_none(), "{:?}", feeder.played.failed);
    let track = feeder.played.first(Kind::Audio).expect("sound");
    let name = path.file_name().expect("a name").to_string_lossy();
    let out = scratch(&format!("{name}.sound.mp4"));
    feeder.played.write(track, &out);
    let decoded = |path: &Path| {
        let codec = format!("pcm_{format}le");
        let args = ["-v", "error", "-i", &path.to_string_lossy(), "-vn", "-f", "md5", "-c:a", &codec, "-"];
        let out = std::process::Command::new("ffmpeg").args(args).output().expect("ffmpeg");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{name}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(decoded(&out), decoded(path), "{name}");
}

#[test]
fn raw_sound_becomes_flac_with_the_same_samples() {
    for (name, args, format) in [
        ("song16.wav", "-c:a pcm_s16le", "s16"),
        ("song24.wav", "-c:a pcm_s24le", "s32"),
        ("song8.wav", "-c:a pcm_u8 -ar 22050", "s16"),
        ("songa.wav", "-c:a pcm_alaw -ar 8000", "s16"),
        ("songmu.wav", "-c:a pcm_mulaw -ar 44100", "s16"),
        ("songa.mov", "-c:a pcm_alaw", "s16"),
        ("songmu.mov", "-c:a pcm_mulaw -ac 1", "s16"),
        ("song16.mov", "-c:a pcm_s16le", "s16"),
        ("song16be.mov", "-c:a pcm_s16be", "s16"),
        ("song24.mov", "-c:a pcm_s24le", "s32"),
        ("song24be.mov", "-c:a pcm_s24be -ar 96000", "s32"),
        ("song8.mov", "-c:a pcm_u8 -ar 22050", "s16"),
        ("song8s.mov", "-c:a pcm_s8 -ar 44100 -ac 1", "s16"),
        ("song16.mka", "-c:a pcm_s16le", "s16"),
        ("song16be.mka", "-c:a pcm_s16be -ar 44100", "s16"),
        ("song24.mka", "-c:a pcm_s24le", "s32"),
    ] {
        same_samples(&clip(name, &format!("{SONG} {args}")), format);
    }
}

#[test]
fn films_with_raw_sound_are_heard() {
    for (name, args) in [
        ("pcm.mov", "-c:a pcm_s16le"),
        ("pcm.mkv", "-c:a pcm_s16le"),
        ("pcm-late.mov", "-c:a pcm_s24le -af asetpts=PTS+0.4/TB"),
        ("pcm-float.mov", "-c:a pcm_f32le"),
        ("pcm-float.mkv", "-c:a pcm_f32le"),
    ] {
        let path = clip(name, &format!("{FILM} -c:v libx264 -preset veryfast -bf 3 {args}"));
        let mut feeder = Feeder::new(read(&path));
        feeder.play(5);
        assert!(feeder.played.failed.is_none(), "{:?}", feeder.played.failed);
        let track = feeder.played.first(Kind::Audio).expect("sound");
        assert_eq!(feeder.played.info.as_ref().expect("ready").tracks[track.0 as usize].codec, "flac");
        let segments = &feeder.played.segments[&track];
        let times = mp4_times(&feeder.played.inits[&track], segments);
        let end = times.last().map_or(0.0, |(at, lasts)| at + lasts);
        let (first, last) = (segments.first().expect("sound").start_us, segments.last().expect("sound").end_us);
        assert!(
            first == 0 && (4.9..5.5).contains(&end) && last.abs_diff((end * 1e6) as u64) < 2000,
            "{name}: {first}–{last}"
        );
        assert!(times.iter().all(|(_, lasts)| *lasts < 0.2), "{name}");
    }
}

/// Transport streams know no edits: what came first in the file they were made of is at 0.
fn judged_by(film: &Path) -> Case {
    let first = |stream: &str| packets(film, stream).0.iter().map(|p| p.pts).fold(f64::NAN, f64::min);
    let film = Some(film.to_path_buf());
    let zero = first("v:0").min(first("a:0"));
    Case {
        tolerance_s: 0.0011,
        judge_sound: film.clone(),
        judge: film,
        zero: Some(zero),
        keep_priming: true,
        ..Case::default()
    }
}

#[test]
fn transport_streams_with_h264_hevc_and_several_sounds() {
    let avc = Some("avc1.640015");
    let film = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    {
        let path = clip("film.ts", &format!("-i {} -c copy", film.display()));
        check_with(&path, Container::MpegTs, avc, AAC, &judged_by(&film));
    }
    for (name, args, audio) in [
        ("ac3.m2ts", "-c:v libx264 -preset veryfast -bf 3 -c:a ac3", "ac-3"),
        // ffmpeg calls AAC private data there, and does not say which.
        ("camera.m2ts", "-c:v libx264 -preset veryfast -bf 3 -c:a aac", "mp4a.40.2"),
        ("ac3.ts", "-c:v libx264 -preset veryfast -bf 3 -c:a ac3", "ac-3"),
        ("eac3.ts", "-c:v libx264 -preset veryfast -bf 3 -c:a eac3", "ec-3"),
        ("mp3.ts", "-c:v libx264 -preset veryfast -bf 3 -c:a libmp3lame", "mp3"),
    ] {
        let mp4 = clip(&format!("{name}.mp4"), &format!("{FILM} {args}"));
        let path = clip(name, &format!("-i {} -c copy", mp4.display()));
        check_with(&path, Container::MpegTs, avc, Some(audio), &judged_by(&mp4));
    }
    // Blu-ray's DTS is told of, and is no reason to pass over the AAC beside it.
    let path =
        clip("dts.m2ts", &format!("{FILM} -map 0:v -map 0:a -map 0:a {X264} -t 4 -c:a:0 dca -strict -2 -c:a:1 aac"));
    let mut feeder = Feeder::new(read(&path));
    feeder.play(7);
    let tracks = &feeder.played.info.as_ref().expect("ready").tracks;
    let sounds = tracks.iter().filter(|t| t.kind == Kind::Audio).map(|t| t.codec.as_str());
    assert_eq!(sounds.collect::<Vec<_>>(), ["dts", "mp4a.40.2"]);
    let hevc = clip(
        "hevc.mp4",
        &format!("{FILM} -c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=4 -tag:v hvc1 -c:a aac"),
    );
    let path = clip("hevc.ts", &format!("-i {} -c copy", hevc.display()));
    let case = Case { letters: true, ..judged_by(&hevc) };
    check_with(&path, Container::MpegTs, Some("hvc1.1.6.L60.90"), AAC, &case);
}

#[test]
fn sound_that_ends_early_goes_on_in_silence() {
    let film = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    for (name, codec) in [
        ("short-aac.mp4", "aac -ac 2"),
        ("short-mono.mp4", "aac -ac 1"),
        ("short-51.mp4", "aac -ac 6"),
        ("short-opus.mkv", "libopus -ac 2"),
        ("short-flac.mkv", "flac -ac 2"),
    ] {
        let song = clip(&format!("{name}.mka"), &format!("-t 1.5 -i BBB -vn -c:a {codec}"));
        let path = clip(name, &format!("-i {} -i {} -map 0:v -map 1:a -c copy", film.display(), song.display()));
        let mut feeder = Feeder::new(read(&path));
        feeder.play(11);
        let track = feeder.played.first(Kind::Audio).expect("sound");
        let end = feeder.played.segments[&track].last().expect("segments").end_us;
        assert!((3_850_000..4_200_000).contains(&end), "{name}: {end}");
        let out = scratch(&format!("{name}.mp4"));
        feeder.played.write(track, &out);
        let mut decode = std::process::Command::new("ffmpeg");
        let decode = decode
            .args(["-nostdin", "-i"])
            .arg(&out)
            .args(["-af", "atrim=2:3.8,volumedetect", "-f", "null", "-"])
            .output()
            .expect("ffmpeg");
        let said = String::from_utf8_lossy(&decode.stderr).into_owned();
        let loudest = said.lines().find_map(|l| l.split("max_volume: ").nth(1)).unwrap_or_default().to_string();
        let loudest: f64 = loudest.trim_end_matches(" dB").parse().expect("a volume");
        assert!(loudest < -80.0 && !said.contains("rror"), "{name}: {said}");
    }
}

/// Pieces of sound are missing (a recording with drop-outs): what follows is where it was, to the frame.
#[test]
fn a_hole_in_the_sound_stays_a_hole() {
    let hole = |codec: &str| {
        format!("{FILM} -c:v libx264 -preset veryfast -bf 3 -af aselect='not(between(t\\,1.5\\,2.7))' {codec}")
    };
    mp4("hole.mp4", &hole("-c:a aac"), Some("avc1.640015"), AAC);
    mkv("hole.mkv", &hole("-c:a aac"), Some("avc1.640015"), AAC);
    mkv("hole-mp3.mkv", &hole("-c:a libmp3lame"), Some("avc1.640015"), Some("mp3"));
    mkv("hole-opus.mkv", &hole("-c:a libopus"), Some("avc1.640015"), Some("opus"));
    fragmented("hole-frag.mp4", &hole("-c:a aac -movflags +frag_keyframe+empty_moov"), "avc1.640015", "mp4a.40.2");
}

/// Frame rates that no millisecond divides, over minutes: neither track drifts from its source.
#[test]
fn nothing_drifts_over_minutes() {
    let film = "-f lavfi -i testsrc2=s=64x36:r=24000/1001:d=300 -f lavfi -i sine=r=44100:d=300 -c:v libx264 -preset ultrafast \
                -g 240 -bf 2 -c:a aac -b:a 32k";
    mkv("drift.mkv", film, Some("avc1.4D400A"), AAC);
    mp4("drift.mp4", film, Some("avc1.4D400A"), AAC);
}

/// Chromium refuses a whole segment for one such picture: it is left out, and the one before it lasts until the next.
#[test]
fn pictures_with_units_longer_than_themselves_are_left_out() {
    let args = format!("{FILM} -c:v libx264 -preset veryfast -bf 8 -b_strategy 2 -g 60 -c:a aac");
    let path = clip("b.mp4", &args);
    let (mut source, _) = packets(&path, "v:0");
    let mut film = read(&path).to_vec();
    let end = source.len() - 1;
    for at in [end, 71, 70, 60, 31, 7] {
        let pos = source.remove(at).pos.expect("a place") as usize;
        film[pos..pos + 4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    }
    let mut feeder = Feeder::new(film.into());
    feeder.play(7);
    let played = &feeder.played;
    assert!(played.failed.is_none(), "{:?}", played.failed);
    let track = played.first(Kind::Video).expect("a video track");
    let out = scratch("left-out.mp4");
    played.write(track, &out);
    let (ours, complaints) = packets(&out, "v:0");
    assert_eq!(complaints, "");
    let hashes = |list: &[Packet]| list.iter().map(|it| it.hash.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(&ours), hashes(&source));
    let times = mp4_times(&played.inits[&track], &played.segments[&track]);
    let zero = source[0].pts;
    for ((is, _), source) in times.iter().zip(&source) {
        assert!((is - source.pts + zero).abs() < 0.0011, "at {is}, should be {}", source.pts - zero);
    }
    // A segment had ended before the sync sample: what it was given lasts for as long as that said.
    let (before, behind): (Vec<_>, Vec<_>) = times.iter().copied().partition(|(at, _)| *at < 2.5);
    lasts_until_next("left-out.mp4", &before);
    lasts_until_next("left-out.mp4", &behind);

    // One that a player would begin with is not hidden from it: without it all that follows would wait for the next.
    let inits = feeder.played.inits.clone();
    feeder.played.segments.clear();
    feeder.media.seek(2_600_000);
    feeder.play(7);
    assert!(feeder.played.failed.is_none());
    assert_eq!(feeder.played.inits, inits);
    assert!(feeder.played.segments[&track][0].random_access);
}

/// What phones and editors write: turned pictures, pixels that are no squares.
#[test]
fn rotation_and_pixel_shape_come_out_as_they_went_in() {
    let plain = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    let turned = clip("turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", plain.display()));
    let wide = clip("wide.mp4", &format!("{FILM} {X264} -t 2 -vf scale=240:240,setsar=16/9"));
    let shape = |path: &Path| {
        let out = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0"])
            .args([
                "-show_entries",
                "stream=width,height,sample_aspect_ratio:stream_side_data=rotation",
                "-of",
                "csv=p=0",
            ])
            .arg(path)
            .output()
            .expect("ffprobe");
        String::from_utf8_lossy(&out.stdout).trim().to_string()
    };
    for (path, word) in [(&turned, "90"), (&wide, "16:9")] {
        let mut feeder = Feeder::new(read(path));
        feeder.play(2);
        let out = scratch(&format!("{}.out.mp4", path.file_name().expect("a name").to_string_lossy()));
        feeder.played.write(feeder.played.first(Kind::Video).expect("pictures"), &out);
        assert_eq!(shape(&out), shape(path));
        assert!(shape(&out).contains(word), "{}", shape(&out));
    }
}

#[test]
fn mp4_with_compact_sizes_and_several_mdats() {
    let plain = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    let compact = rewrite(&read(&plain), &|kind, body| {
        let words: Vec<u32> = body.chunks_exact(4).map(|w| u32::from_be_bytes(w.try_into().expect("four"))).collect();
        if kind != b"stsz" || words[3..].iter().any(|size| *size > 0xffff) {
            return None;
        }
        let head = [0, 16, words[2]].map(u32::to_be_bytes).concat();
        let sizes = words[3..].iter().flat_map(|size| (*size as u16).to_be_bytes());
        let new: Vec<u8> = head.into_iter().chain(sizes).collect();
        Some(([&(new.len() as u32 + 8).to_be_bytes()[..], b"stz2"].concat(), new))
    });
    assert!(compact.windows(4).any(|w| w == b"stz2"));
    let path = scratch("compact.mp4");
    std::fs::write(&path, compact).expect("writable");
    check(&path, Container::Mp4, Some("avc1.640015"), AAC);

    // The first mdat ends where some chunk in the middle begins; what is behind it moves by a second mdat's header.
    let file = read(&plain);
    let at = file.windows(4).position(|w| w == b"stco").expect("stco") + 4;
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four"));
    let cut = word(at + 8 + (word(at + 4) as usize / 2) * 4) as usize;
    let mdat = file.windows(4).position(|w| w == b"mdat").expect("mdat") - 4;
    let end = mdat + word(mdat) as usize;
    let moved = rewrite(&file[end..], &|kind, body| {
        let moved = body[8..].chunks_exact(4).flat_map(|w| {
            let offset = u32::from_be_bytes(w.try_into().expect("four"));
            (if offset as usize >= cut { offset + 8 } else { offset }).to_be_bytes()
        });
        let new: Vec<u8> = body[..8].iter().copied().chain(moved).collect();
        (kind == b"stco").then(|| ([&(new.len() as u32 + 8).to_be_bytes()[..], b"stco"].concat(), new))
    });
    let two = [
        &file[..mdat],
        &((cut - mdat) as u32).to_be_bytes(),
        &file[mdat + 4..cut],
        &((end - cut + 8) as u32).to_be_bytes(),
        b"mdat",
        &file[cut..end],
        &moved,
    ];
    let path = scratch("two.mp4");
    std::fs::write(&path, two.concat()).expect("writable");
    check(&path, Container::Mp4, Some("avc1.640015"), AAC);
}

/// A box more in each sample table of pictures.
fn with_box(file: &[u8], extra: &[u8]) -> Vec<u8> {
    rewrite(file, &|kind, body| {
        (kind == b"ctts").then(|| {
            let head = [&(body.len() as u32 + 8).to_be_bytes()[..], b"ctts"].concat();
            (head, [body, extra].concat())
        })
    })
}

#[test]
fn mp4_with_a_box_that_tells_the_bounds_of_its_offsets() {
    // `cslg` (ISO/IEC 14496-12 §8.6.1.4) changes no time; moov is at the end, so that nothing moves.
    let plain = clip("neg.mp4", &format!("{FILM} {X264} -movflags +negative_cts_offsets"));
    let cslg = [
        &32u32.to_be_bytes()[..],
        b"cslg",
        &[0; 4],
        &1024i32.to_be_bytes(),
        &(-1024i32).to_be_bytes(),
        &2048i32.to_be_bytes(),
        &[0; 8],
    ]
    .concat();
    let path = scratch("cslg.mp4");
    std::fs::write(&path, with_box(&read(&plain), &cslg)).expect("writable");
    assert!(read(&path).windows(4).any(|w| w == b"cslg"));
    check(&path, Container::Mp4, Some("avc1.640015"), AAC);
}

#[test]
fn mp4_whose_sync_table_is_empty_plays_from_its_first_picture() {
    let plain = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    let empty = rewrite(&read(&plain), &|kind, _| {
        (kind == b"stss").then(|| ([&16u32.to_be_bytes()[..], b"stss"].concat(), vec![0; 8]))
    });
    let play = |file: Vec<u8>| {
        let mut feeder = Feeder::new(file.into());
        feeder.play(3);
        assert!(feeder.played.failed.is_none(), "{:?}", feeder.played.failed);
        let out = scratch("empty-stss.out.mp4");
        feeder.played.write(feeder.played.first(Kind::Video).expect("pictures"), &out);
        packets(&out, "v:0").0
    };
    let (is, should) = (play(empty), play(read(&plain).to_vec()));
    let brief = |all: Vec<Packet>| all.into_iter().map(|it| (it.pts, it.hash)).collect::<Vec<_>>();
    assert!(is[0].key && is.len() > 90);
    assert_eq!(brief(is), brief(should));
}

#[test]
fn mp4_with_sound_far_from_its_pictures() {
    // All pictures, then all sound: what cameras' repair tools and some editors write.
    let plain = clip("plain.mp4", &format!("{FILM} {X264} -t 4"));
    let path =
        clip("apart.mp4", &format!("-i {} -c copy -max_interleave_delta 1 -movflags +faststart", plain.display()));
    check(&path, Container::Mp4, Some("avc1.640015"), AAC);
    let file = read(&plain);
    let apart = sounds_last(&file);
    let path = scratch("sounds-last.mp4");
    std::fs::write(&path, apart).expect("writable");
    check(&path, Container::Mp4, Some("avc1.640015"), AAC);
}

/// The same film with every chunk of sound behind the last picture, in an `mdat` of their own at the file's end.
fn sounds_last(file: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four")) as usize;
    let find = |kind: &[u8], from: usize| from + file[from..].windows(4).position(|w| w == kind).expect("a box");
    // The second track is the sound.
    let (stco, stsz, stsc) = [b"stco", b"stsz", b"stsc"].map(|kind| find(kind, find(kind, 0) + 4)).into();
    let count = word(stco + 8);
    let per_chunk = |chunk: usize| {
        let entries = (0..word(stsc + 8)).map(|i| (word(stsc + 12 + 12 * i), word(stsc + 16 + 12 * i)));
        entries.take_while(|(first, _)| *first <= chunk + 1).last().expect("an entry").1
    };
    let (mut out, mut sounds, mut sample) = (file.to_vec(), Vec::new(), 0);
    for chunk in 0..count {
        let size: usize = (sample..sample + per_chunk(chunk)).map(|i| word(stsz + 16 + 4 * i)).sum();
        sample += per_chunk(chunk);
        let from = word(stco + 12 + 4 * chunk);
        let place = (file.len() + 8 + sounds.len()) as u32;
        sounds.extend_from_slice(&file[from..from + size]);
        out[stco + 12 + 4 * chunk..][..4].copy_from_slice(&place.to_be_bytes());
        // What was there is not what is read.
        out[from..from + size].fill(0x55);
    }
    out.extend((sounds.len() as u32 + 8).to_be_bytes());
    out.extend(b"mdat");
    out.extend(sounds);
    out
}
