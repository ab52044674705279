//! Subtitles: whatever form they are stored in becomes the text of a WebVTT cue (W3C WebVTT §4.2.2).

mod file;
mod markup;

pub use file::parse as parse_subtitles;

use bytes::Bytes;

/// Longer samples are no subtitle: a page full of text has 2 KB.
pub(crate) const SAMPLE_MAX: usize = 64 << 10;

/// How a text track stores its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// 3GPP TS 26.245 §5.17, and QuickTime's `text`: a length, the text, style boxes.
    Tx3g,
    /// ISO/IEC 14496-30 §7: boxes of WebVTT cues.
    Wvtt,
    /// Plain text with `<i>` and the like (Matroska `S_TEXT/UTF8`).
    Srt,
    /// One event's fields behind a running number (Matroska `S_TEXT/ASS`).
    Ass,
    /// A WebVTT cue's text (Matroska `S_TEXT/WEBVTT`).
    WebVtt,
    /// Cue id, settings, text, a line each before the text (WebM `D_WEBVTT/SUBTITLES`).
    WebmVtt,
}

/// One subtitle, as the page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cue {
    pub start_us: u64,
    pub end_us: u64,
    /// WebVTT cue text: `<b>`, `<i>`, `<u>` and escapes, nothing else of ours.
    pub text: String,
    /// It belongs to the top of the picture.
    pub top: bool,
}

/// The texts of one sample: usually one, none for a pause.
pub(crate) fn texts(format: Format, sample: &Bytes) -> Vec<Cue> {
    let cue = match format {
        Format::Tx3g => tx3g(sample),
        Format::Wvtt => return wvtt(sample),
        Format::Srt => markup::from_srt(sample),
        // ReadOrder, Layer, Style, Name, three margins, Effect.
        Format::Ass => markup::from_ass(after(sample, b',', 8)),
        Format::WebVtt => as_it_is(sample),
        Format::WebmVtt => as_it_is(after(sample, b'\n', 2)),
    };
    cue.into_iter().collect()
}

/// A QuickTime text sample's words, or as much of them as is here: a length, then UTF-8, or UTF-16 behind its mark.
#[inline(never)]
pub(crate) fn counted_text(sample: &[u8]) -> String {
    match counted(sample).unwrap_or_default() {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        text => short_text(text).unwrap_or_default(),
    }
}

/// What a length before it says is text, or as much of that as is here.
fn counted(sample: &[u8]) -> Option<&[u8]> {
    let (len, rest) = sample.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)).min(rest.len()))
}

/// Up to the first zero.
#[inline(never)]
pub(crate) fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|c| unit([c[0], c[1]])).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units)
}

/// A name: up to the first zero byte; what is not UTF-8 is replaced. At most 256 bytes: names, not novels.
#[inline(never)]
pub(crate) fn short_text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()).min(256);
    (end > 0).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

fn as_it_is(text: &[u8]) -> Option<Cue> {
    let text = String::from_utf8_lossy(text).trim().to_string();
    (!text.is_empty()).then_some(Cue { text, ..Cue::default() })
}

/// Styles are left out: what they say is seldom more than a colour.
fn tx3g(sample: &[u8]) -> Option<Cue> {
    markup::plain(counted(sample)?)
}

fn wvtt(sample: &[u8]) -> Vec<Cue> {
    let mut out = Vec::new();
    each_box(sample, |kind, body| {
        if kind == b"vttc" {
            each_box(body, |kind, text| {
                if kind == b"payl" {
                    out.extend(as_it_is(text));
                }
            });
        }
    });
    out
}

fn each_box<'a>(mut data: &'a [u8], mut take: impl FnMut(&[u8], &'a [u8])) {
    while let Some((head, rest)) = data.split_first_chunk::<8>() {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = size.checked_sub(8).and_then(|len| rest.get(..len)) else { return };
        take(&head[4..], body);
        data = &rest[body.len()..];
    }
}

/// What comes after so many of these bytes.
fn after(mut data: &[u8], byte: u8, count: usize) -> &[u8] {
    for _ in 0..count {
        let at = data.iter().position(|b| *b == byte).map_or(data.len(), |at| at + 1);
        data = &data[at..];
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: Format, sample: &[u8]) -> String {
        texts(format, &Bytes::copy_from_slice(sample)).into_iter().map(|c| c.text).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn timed_text_of_mp4_is_escaped_and_its_pauses_are_silent() {
        assert_eq!(text(Format::Tx3g, b"\0\x07A < B&C\0\0\0\x16styl"), "A &lt; B&amp;C");
        assert_eq!(text(Format::Tx3g, b"\0\0"), "");
        assert_eq!(text(Format::Tx3g, b"\xff\xffcut"), "cut");
    }

    #[test]
    fn names_of_chapters_are_as_long_as_they_say_and_in_either_alphabet() {
        assert_eq!(counted_text("\0\u{9}Übrigens\0\0\0\x0cencd".as_bytes()), "Übrigens");
        assert_eq!(counted_text(b"\0\x08\xfe\xff\0A\x20\xac\0!rest"), "A\u{20ac}!");
        assert_eq!(counted_text(b"\0\x06\xff\xfeA\0\xac\x20"), "A\u{20ac}");
        assert_eq!(counted_text(b"\0\x05\xfe\xff\xd8\0A"), "\u{fffd}", "half of a letter");
        for short in [&b""[..], b"\0", b"\0\0", b"\0\x04"] {
            assert_eq!(counted_text(short), "");
        }
        assert_eq!(counted_text(b"\xff\xffcut"), "cut");
    }

    #[test]
    fn webvtt_in_mp4_may_hold_two_cues() {
        let cue = |t: &[u8]| {
            let payl = [&(8 + t.len() as u32).to_be_bytes()[..], b"payl", t].concat();
            [&(8 + payl.len() as u32).to_be_bytes()[..], b"vttc", &payl].concat()
        };
        let both = [cue(b"<i>one</i>"), cue(b"two")].concat();
        assert_eq!(text(Format::Wvtt, &both), "<i>one</i>|two");
        assert_eq!(text(Format::Wvtt, b"\0\0\0\x08vtte"), "");
        assert_eq!(text(Format::Wvtt, b"\0\0\xff\x08vttcpayl"), "");
    }

    #[test]
    fn matroska_blocks_give_up_their_text() {
        let ass = br"12,0,Default,,0,0,0,,{\i1}Well,{\i0} yes\Nno";
        assert_eq!(text(Format::Ass, ass), "<i>Well,</i> yes\nno");
        assert_eq!(text(Format::Ass, b"12,0"), "");
        assert_eq!(text(Format::WebmVtt, b"id\nline:0\nHello\nthere"), "Hello\nthere");
        assert_eq!(text(Format::WebVtt, b"<c.x>Hello</c>"), "<c.x>Hello</c>");
    }
}
