//! From SubRip's and SubStation's markup to WebVTT's: italics, bold and underlined stay, the rest is left out.

use super::Cue;

/// Which of `<b>`, `<i>`, `<u>` are open, outermost first.
#[derive(Default)]
struct Writer {
    out: String,
    open: Vec<u8>,
    top: bool,
}

/// Text without any markup.
pub(super) fn plain(text: &[u8]) -> Option<Cue> {
    let mut writer = Writer::default();
    String::from_utf8_lossy(text).chars().for_each(|c| writer.char(c));
    writer.finish()
}

/// SubRip: HTML-like tags, and SubStation's `{\an8}` as everybody writes it.
pub(super) fn from_srt(text: &[u8]) -> Option<Cue> {
    let mut writer = Writer::default();
    let text = String::from_utf8_lossy(text);
    let mut rest = &text[..];
    while let Some(c) = rest.chars().next() {
        let tag = match c {
            '<' => inside(rest, b'>'),
            '{' => inside(rest, b'}').filter(|tag| tag.as_bytes().first() == Some(&b'\\')),
            _ => None,
        };
        let Some(tag) = tag else {
            writer.char(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        match c {
            '<' => writer.html(tag.as_bytes()),
            _ => drop(writer.overrides(tag.as_bytes())),
        }
        rest = &rest[tag.len() + 2..];
    }
    writer.finish()
}

/// SubStation: override blocks, `\N`, `\n` and `\h`. Drawings are no text.
pub(super) fn from_ass(text: &[u8]) -> Option<Cue> {
    let mut writer = Writer::default();
    let text = String::from_utf8_lossy(text);
    let (mut rest, mut drawing) = (&text[..], false);
    while let Some(c) = rest.chars().next() {
        if let Some(block) = (c == '{').then(|| inside(rest, b'}')).flatten() {
            drawing = writer.overrides(block.as_bytes()).unwrap_or(drawing);
            rest = &rest[block.len() + 2..];
            continue;
        }
        let (c, len) = match rest.as_bytes() {
            [b'\\', b'N' | b'n', ..] => ('\n', 2),
            [b'\\', b'h', ..] => ('\u{a0}', 2),
            _ => (c, c.len_utf8()),
        };
        if !drawing {
            writer.char(c);
        }
        rest = &rest[len..];
    }
    writer.finish()
}

/// What stands between the first character and `end`.
fn inside(text: &str, end: u8) -> Option<&str> {
    let at = text.bytes().position(|b| b == end)?;
    Some(&text[1..at])
}

impl Writer {
    fn char(&mut self, c: char) {
        match c {
            '&' => self.out.push_str("&amp;"),
            '<' => self.out.push_str("&lt;"),
            '>' => self.out.push_str("&gt;"),
            '\r' => {}
            // An empty line would end the cue where somebody writes it to a file.
            '\n' if self.out.ends_with('\n') => {}
            c => self.out.push(c),
        }
    }

    fn html(&mut self, tag: &[u8]) {
        match tag {
            [letter] => self.set(*letter, true),
            [b'/', letter] => self.set(*letter, false),
            _ => {}
        }
    }

    /// `\i1`, `\b0`, `\an8`…; whether a drawing begins or ends.
    fn overrides(&mut self, block: &[u8]) -> Option<bool> {
        let mut drawing = None;
        for one in block.split(|b| *b == b'\\') {
            match one {
                [letter @ (b'i' | b'b' | b'u'), digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                    self.set(*letter, !matches!(digits, b"" | b"0"));
                }
                [b'a', b'n', b'7'..=b'9'] => self.top = true,
                [b'p', digit @ b'0'..=b'9', ..] => drawing = Some(*digit != b'0'),
                [b'r', ..] => self.close_to(0),
                _ => {}
            }
        }
        drawing
    }

    fn set(&mut self, letter: u8, on: bool) {
        let letter = letter.to_ascii_lowercase();
        let at = self.open.iter().position(|o| *o == letter);
        match (at, on) {
            (None, true) if matches!(letter, b'i' | b'b' | b'u') => {
                self.open.push(letter);
                self.tag("<", letter);
            }
            (Some(at), false) => {
                let again: Vec<u8> = self.open[at + 1..].to_vec();
                self.close_to(at);
                again.into_iter().for_each(|letter| self.set(letter, true));
            }
            _ => {}
        }
    }

    fn close_to(&mut self, len: usize) {
        while self.open.len() > len
            && let Some(letter) = self.open.pop()
        {
            self.tag("</", letter);
        }
    }

    fn tag(&mut self, begin: &str, letter: u8) {
        self.out.push_str(begin);
        self.out.push(char::from(letter));
        self.out.push('>');
    }

    fn finish(mut self) -> Option<Cue> {
        self.close_to(0);
        let text = self.out.trim().to_string();
        (!text.is_empty()).then_some(Cue { text, top: self.top, ..Cue::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srt(text: &str) -> String {
        from_srt(text.as_bytes()).map_or(String::new(), |c| c.text)
    }

    fn ass(text: &str) -> String {
        from_ass(text.as_bytes()).map_or(String::new(), |c| c.text)
    }

    #[test]
    fn subrip_keeps_italics_and_loses_colours() {
        assert_eq!(srt("<i>a</i> <font color=\"#fff\">b</font> & c"), "<i>a</i> b &amp; c");
        assert_eq!(srt("1 < 2\r\n\r\nthree"), "1 &lt; 2\nthree");
        assert_eq!(srt("<b><i>a</b>b"), "<b><i>a</i></b><i>b</i>");
        assert_eq!(srt("{not a tag} <"), "{not a tag} &lt;");
        assert!(from_srt(br"{\an8}up").unwrap().top);
        assert_eq!(srt(r"{\an8}"), "");
    }

    #[test]
    fn substation_keeps_italics_and_loses_drawings() {
        assert_eq!(ass(r"{\fad(1,2)\i1}a{\i0}\Nb\hc"), "<i>a</i>\nb\u{a0}c");
        assert_eq!(ass(r"{\p1}m 0 0 l 10 10{\p0}seen"), "seen");
        assert_eq!(ass(r"{\b700}a{\r}b"), "<b>a</b>b");
        assert_eq!(ass(r"{\blur2\bord3}a{unfinished"), "a{unfinished");
        assert!(from_ass(br"{\an8}sign").unwrap().top);
    }

    #[test]
    fn what_is_no_unicode_is_replaced() {
        assert_eq!(srt("ä"), "ä");
        assert_eq!(from_srt(b"\xe4b").unwrap().text, "\u{fffd}b");
    }
}
