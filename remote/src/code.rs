//! The code on a television's screen: `K7P-2QX`. The first half is the name that the server gave and finds it by; the second is the television's own, and a secret.

use core::fmt;

/// Six characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What the server knows: below [`HALF`].
    pub name: u16,
    /// What it does not: below [`HALF`]. Whoever guesses is right once in 32,768 times, and has three tries.
    pub word: u16,
}

impl Code {
    /// As a person types it: small letters, spaces and dashes do no harm.
    pub fn parse(text: &str) -> Option<Self> {
        let mut value = 0u32;
        let mut count = 0;
        for letter in text
            .chars()
            .filter(|it| !matches!(it, ' ' | '-' | '–' | '·'))
        {
            let upper = letter.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|&it| char::from(it) == upper)?;
            value = (value << 5 | digit as u32) & 0x3fff_ffff;
            count += 1;
        }
        (count == 6).then_some(Self {
            name: (value >> 15) as u16,
            word: (value & 0x7fff) as u16,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for half in [self.name, self.word] {
            for shift in [10, 5, 0] {
                let letter = ALPHABET[usize::from(half >> shift) & 31];
                write!(f, "{}", char::from(letter))?;
            }
        }
        Ok(())
    }
}

/// How many names there are, and how many words.
pub const HALF: u16 = 1 << 15;
/// Digits and capitals without those that look alike from a sofa: no 0 and O, no 1 and I.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_text() {
        for name in (0..HALF).step_by(97) {
            let code = Code {
                name,
                word: HALF - 1 - name,
            };
            let text = code.to_string();
            assert_eq!(text.len(), 6);
            assert_eq!(Code::parse(&text), Some(code));
            let typed = format!(" {}-{} ", text[..3].to_lowercase(), &text[3..]);
            assert_eq!(Code::parse(&typed), Some(code));
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in [
            "", "ABCDE", "ABCDEFG", "ABCDE0", "ABCDEI", "ABCDEÄ", "1BCDEF",
        ] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
    }
}
