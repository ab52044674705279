//! DEFLATE in its zlib wrapping (RFC 1950, RFC 1951): what Matroska calls compression. Small rather than fast: it is for
//! subtitles and for headers, never for pictures in quantity.

/// The unpacked bytes, at most `max`; `None` for what is no zlib stream or unpacks to more.
pub(crate) fn zlib(data: &[u8], max: usize) -> Option<Vec<u8>> {
    let (&[method, flags], rest) = data.split_first_chunk::<2>()?;
    let sane = method & 15 == 8 && (u16::from(method) << 8 | u16::from(flags)) % 31 == 0 && flags & 0x20 == 0;
    if !sane {
        return None;
    }
    let mut bits = Bits { data: rest, at: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits.take(1)?;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out, max)?,
            1 => {
                let lengths: Vec<u8> = (0..288).map(fixed_length).collect();
                compressed(&mut bits, &Tree::new(&lengths)?, &Tree::new(&[5; 30])?, &mut out, max)?;
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits)?;
                compressed(&mut bits, &literals, &distances, &mut out, max)?;
            }
            _ => return None,
        }
        if last == 1 {
            return Some(out);
        }
    }
}

struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for i in 0..count {
            let byte = *self.data.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << i;
            self.at += 1;
        }
        Some(value)
    }
}

/// A canonical Huffman code (§3.2.2), decoded bit by bit.
struct Tree {
    /// How many codes there are of each length.
    counts: [u16; 16],
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
}

impl Tree {
    fn new(lengths: &[u8]) -> Option<Tree> {
        let mut tree = Tree { counts: [0; 16], symbols: Vec::with_capacity(lengths.len()) };
        for len in 1..16 {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| usize::from(**l) == len) {
                tree.symbols.push(symbol as u16);
                tree.counts[len] += 1;
            }
        }
        // More codes than bits can tell apart.
        let left = tree.counts[1..].iter().try_fold(1i32, |left, count| {
            let left = left * 2 - i32::from(*count);
            (left >= 0).then_some(left)
        });
        left.map(|_| tree)
    }

    fn symbol(&self, bits: &mut Bits) -> Option<u16> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0i32);
        for count in &self.counts[1..] {
            code |= bits.take(1)? as i32;
            let count = i32::from(*count);
            if code - count < first {
                return self.symbols.get((index + code - first) as usize).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// §3.2.6.
fn fixed_length(symbol: u16) -> u8 {
    match symbol {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

fn stored(bits: &mut Bits, out: &mut Vec<u8>, max: usize) -> Option<()> {
    bits.at = bits.at.next_multiple_of(8);
    let len = bits.take(16)? as usize;
    bits.take(16)?;
    let from = bits.at / 8;
    let bytes = bits.data.get(from..from + len).filter(|_| out.len() + len <= max)?;
    out.extend_from_slice(bytes);
    bits.at += len * 8;
    Some(())
}

/// §3.2.7.
fn dynamic(bits: &mut Bits) -> Option<(Tree, Tree)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (bits.take(5)? as usize + 257, bits.take(5)? as usize + 1);
    let mut code = [0; 19];
    for at in ORDER.iter().take(bits.take(4)? as usize + 4) {
        code[*at] = bits.take(3)? as u8;
    }
    let code = Tree::new(&code)?;
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (len, times) = match code.symbol(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            len => (len as u8, 1),
        };
        lengths.extend((0..times).map(|_| len));
    }
    Some((Tree::new(lengths.get(..literals)?)?, Tree::new(lengths.get(literals..literals + distances)?)?))
}

/// §3.2.5.
fn compressed(bits: &mut Bits, literals: &Tree, distances: &Tree, out: &mut Vec<u8>, max: usize) -> Option<()> {
    loop {
        let symbol = u32::from(literals.symbol(bits)?);
        match symbol {
            0..=255 if out.len() < max => out.push(symbol as u8),
            256 => return Some(()),
            257..=285 => {
                let len = match symbol - 257 {
                    28 => 258,
                    step => 3 + spread(bits, step, 2)?,
                };
                let distance = u32::from(distances.symbol(bits)?);
                let back = 1 + spread(bits, distance, 1)?;
                let from = out.len().checked_sub(back)?;
                if out.len() + len > max {
                    return None;
                }
                for i in from..from + len {
                    out.push(out[i]);
                }
            }
            _ => return None,
        }
    }
}

/// Lengths and distances alike: the first few symbols are themselves, then `1 << group` of them share each number of
/// extra bits.
fn spread(bits: &mut Bits, symbol: u32, group: u32) -> Option<usize> {
    let extra = (symbol >> group).saturating_sub(1);
    if extra > 13 {
        return None;
    }
    let base = match extra {
        0 => symbol,
        _ => ((1 << group) + (symbol & ((1 << group) - 1))) << extra,
    };
    Some((base + bits.take(extra)?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_fixed_and_dynamic_blocks_are_unpacked() {
        // python3: zlib.compressobj(0) and zlib.compress(b"hello hello hello").
        let stored = b"\x78\x01\x01\x05\x00\xfa\xffhello\x06\x2c\x02\x15";
        assert_eq!(zlib(stored, 5).unwrap(), b"hello");
        assert_eq!(zlib(stored, 4), None);
        let fixed = b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00\x3a\x2e\x06\x7d";
        assert_eq!(zlib(fixed, 100).unwrap(), b"hello hello hello");
        assert_eq!(zlib(fixed, 16), None);
    }

    #[test]
    fn what_another_compressor_packs_is_unpacked_here() {
        let mut dice = 1u32;
        for len in [0usize, 1, 50, 3000, 70_000] {
            let plain: Vec<u8> = (0..len)
                .map(|i| {
                    dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if i % 7 < 4 { b"subtitle"[i % 8] } else { (dice >> 27) as u8 }
                })
                .collect();
            for level in [0, 1, 6, 9] {
                let packed = miniz_oxide::deflate::compress_to_vec_zlib(&plain, level);
                assert_eq!(zlib(&packed, 70_000).as_ref(), Some(&plain), "{len} at {level}");
                for cut in 0..packed.len().min(200) {
                    let _ = zlib(&packed[..cut], 70_000);
                    let mut broken = packed.clone();
                    broken[cut] ^= 0x41;
                    assert!(zlib(&broken, 70_000).is_none_or(|out| out.len() <= 70_000));
                }
            }
        }
    }
}
