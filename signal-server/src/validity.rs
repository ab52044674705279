//! From when until when a certificate is good (X.509, RFC 5280 §4.1.2.5). Pure: bytes in, seconds out.

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from_unix_s: u64,
    pub until_unix_s: u64,
}

impl Validity {
    /// `None` for what is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = value(certificate, SEQUENCE)?;
        let (mut rest, _) = value(certificate, SEQUENCE)?;
        // The version stands before the serial number in all but the oldest.
        if rest.first() == Some(&VERSION) {
            rest = value(rest, VERSION)?.1;
        }
        for tag in [SERIAL, SEQUENCE, SEQUENCE] {
            // Serial number, algorithm, who signed it.
            rest = value(rest, tag)?.1;
        }
        let (validity, _) = value(rest, SEQUENCE)?;
        let (from_unix_s, rest) = time(validity)?;
        let (until_unix_s, _) = time(rest)?;
        Some(Self {
            from_unix_s,
            until_unix_s,
        })
    }

    /// When two thirds of its life are over.
    pub fn renew_unix_s(&self) -> u64 {
        let life = self.until_unix_s.saturating_sub(self.from_unix_s);
        self.until_unix_s - life / 3
    }
}

/// What stands behind a tag (X.690 §8.1), and what follows.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        short if short < 0x80 => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let digit = |sum, digit: &u8| sum << 8 | usize::from(*digit);
            (digits.iter().fold(0, digit), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// `YYMMDDHHMMSSZ`, or the same with a whole year.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest) = match *bytes.first()? {
        tag @ (UTC_TIME | GENERALIZED_TIME) => value(bytes, tag)?,
        _ => return None,
    };
    let (year_len, text) = match (bytes[0], text.strip_suffix(b"Z")?) {
        (UTC_TIME, text) => (2, text),
        (_, text) => (4, text),
    };
    if text.len() != year_len + 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, it| n * 10 + u64::from(it - b'0'));
    let (year, fields) = text.split_at(year_len);
    let year = match (year_len, number(year)) {
        (2, year @ 50..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let mut fields = fields.chunks(2).map(number);
    let [month, day, hour, minute, second] = std::array::from_fn(|_| fields.next().unwrap_or(0));
    let sound = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = sound.then(|| days_since_1970(year, month, day))?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second, rest))
}

/// By the proleptic Gregorian calendar, the year beginning in March so that the leap day is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        month => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - MARCH_1970
}

/// Days from the first of March of the year 0 to the first of January 1970.
const MARCH_1970: u64 = 719_468;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const SERIAL: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_from_when_until_when_it_is_good() {
        // Times by `date -u +%s`.
        let short = certificate((2026, 2, 28), (2026, 5, 29));
        let validity = Validity::of(&short).unwrap();
        assert_eq!(validity.from_unix_s, 1_772_236_800);
        assert_eq!(validity.until_unix_s, 1_780_012_800);
        assert_eq!(validity.renew_unix_s(), 1_780_012_800 - 30 * 86_400);
        // Beyond 2049 the year has four digits.
        let long = Validity::of(&certificate((2000, 2, 29), (2052, 3, 1))).unwrap();
        assert_eq!(long.from_unix_s, 951_782_400);
        assert_eq!(long.until_unix_s, 2_592_864_000);
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_says_nothing() {
        let whole = certificate((2026, 2, 28), (2026, 5, 29));
        for len in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..len]), None);
        }
        assert_eq!(Validity::of(&[0x30; 200]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Validity::of(&bytes);
        }

        #[test]
        fn no_changed_byte_makes_it_panic(at in 0..120usize, byte: u8) {
            let mut bytes = certificate((2026, 2, 28), (2026, 5, 29));
            bytes[at] = byte;
            let _ = Validity::of(&bytes).map(|it| it.renew_unix_s());
        }
    }
}
