//! Subtitle files beside a film: .srt, .vtt, .ass and .ssa, told apart by what is in them.

use super::{Cue, markup};

/// A film of ten hours with a cue per second has as many.
const CUES_MAX: usize = 40_000;
/// The largest that were seen, karaoke of a whole film, have 5 MB.
const FILE_MAX: usize = 16 << 20;

/// The cues of a subtitle file in order of their beginning; `None` if it is none.
pub fn parse(file: &[u8]) -> Option<Vec<Cue>> {
    if file.len() > FILE_MAX {
        return None;
    }
    let text = decoded(file);
    let mut cues = Vec::new();
    if text.lines().any(|l| l.trim_end() == "[Events]") {
        text.lines().for_each(|line| cues.extend(dialogue(line)));
    } else {
        let as_vtt = text.starts_with("WEBVTT");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((start_us, end_us, settings)) = timing(line) else { continue };
            let mut body = String::new();
            while let Some(line) = lines.next_if(|l| !l.trim().is_empty()) {
                body.push_str(line);
                body.push('\n');
            }
            let cue = match as_vtt {
                true => super::as_it_is(body.as_bytes()),
                false => markup::from_srt(body.as_bytes()),
            };
            cues.extend(cue.map(|cue| Cue { start_us, end_us, top: cue.top || settings.contains("line:0"), ..cue }));
            if cues.len() > CUES_MAX {
                break;
            }
        }
    }
    cues.truncate(CUES_MAX);
    baton_sorted::sort_by_key(&mut cues, |c| (c.start_us, 0));
    (!cues.is_empty()).then_some(cues)
}

/// UTF-8, UTF-16 with its mark, or what Windows wrote in the west: bytes that are no UTF-8 are read as Latin-1.
fn decoded(file: &[u8]) -> String {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|c| unit([c[0], c[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match file {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => {
            let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
            match std::str::from_utf8(file) {
                Ok(text) => text.to_string(),
                Err(_) => file.iter().map(|b| char::from(*b)).collect(),
            }
        }
    }
}

/// `00:01:02,500 --> 00:01:04.000 line:0`: SubRip writes a comma, WebVTT a point and perhaps no hours.
fn timing(line: &str) -> Option<(u64, u64, &str)> {
    let (start, rest) = line.split_once("-->")?;
    let rest = rest.trim_start();
    let (end, settings) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let (start, end) = (time(start.trim())?, time(end.trim())?);
    (start < end).then_some((start, end, settings))
}

/// `Dialogue: Layer, Start, End, Style, Name, three margins, Effect, Text`.
fn dialogue(line: &str) -> Option<Cue> {
    let fields = line.strip_prefix("Dialogue:")?;
    let mut parts = fields.splitn(10, ',');
    let (start_us, end_us) = (time(parts.nth(1)?.trim())?, time(parts.next()?.trim())?);
    let cue = markup::from_ass(parts.nth(6)?.as_bytes())?;
    (start_us < end_us).then_some(Cue { start_us, end_us, ..cue })
}

/// `[h:]mm:ss[.,]fraction` in microseconds.
fn time(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let mut seconds = 0u64;
    for part in whole.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse::<u32>().ok()?.into())?;
    }
    let mut us = seconds.checked_mul(1_000_000)?;
    let mut unit = 100_000;
    for digit in fraction.bytes() {
        us = us.checked_add(u64::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit)?;
        unit /= 10;
    }
    Some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(file: &[u8]) -> Vec<(u64, u64, String)> {
        parse(file).unwrap_or_default().into_iter().map(|c| (c.start_us / 1000, c.end_us / 1000, c.text)).collect()
    }

    #[test]
    fn subrip_files_are_read_as_people_have_them() {
        let file = b"\xef\xbb\xbf1\r\n00:00:01,500 --> 00:00:03,000\r\n<i>One</i>\r\nline two\r\n\r\n2\r\n0:00:04.000 --> 0:00:05.25 X1:0\r\nCaf\xc3\xa9\r\n";
        let cues = brief(file);
        assert_eq!(cues, [(1500, 3000, "<i>One</i>\nline two".into()), (4000, 5250, "Café".into())]);
        assert_eq!(brief(b"1\n00:00:01,000 --> 00:00:02,000\nCaf\xe9\n")[0].2, "Café");
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("1\n00:00:01,000 --> 00:00:02,000\nHi\n".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(brief(&wide), [(1000, 2000, "Hi".into())]);
    }

    #[test]
    fn webvtt_files_keep_their_markup() {
        let file = b"WEBVTT\n\nNOTE no cue\n\nid\n00:01.000 --> 00:02.000 line:0\n<v Ann>Hi</v>\n\n01:00:00.000 --> 01:00:01.000\nlater";
        let cues = parse(file).unwrap();
        assert_eq!((cues[0].text.as_str(), cues[0].top, cues[0].start_us), ("<v Ann>Hi</v>", true, 1_000_000));
        assert_eq!((cues[1].text.as_str(), cues[1].start_us), ("later", 3_600_000_000));
    }

    #[test]
    fn substation_files_are_sorted_by_time() {
        let file = b"[Script Info]\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
            Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,second, it says\n\
            Comment: 0,0:00:00.00,0:00:06.00,Default,,0,0,0,,no\n\
            Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\an8}first\n";
        let cues = parse(file).unwrap();
        assert_eq!((cues[0].text.as_str(), cues[0].top, cues[0].end_us), ("first", true, 2_500_000));
        assert_eq!(cues[1].text, "second, it says");
    }

    #[test]
    fn what_is_no_subtitle_file_is_none() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"hello --> world"), None);
        assert_eq!(parse(b"00:00:02,000 --> 00:00:01,000\nbackwards\n"), None);
        assert_eq!(time("99999999999:00"), None);
    }
}
