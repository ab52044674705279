//! Opus: `OpusHead` (RFC 7845 §5.1), `dOps` (Opus in ISOBMFF §4.3.2), packet lengths (RFC 6716 §3.1).

use bytes::Bytes;

/// `dOps` from the identification header (little-endian to big-endian). The Ogg magic may be left out.
pub(crate) fn dops_from_head(head: &[u8]) -> Option<Bytes> {
    let head = head.strip_prefix(b"OpusHead").unwrap_or(head);
    let fixed: &[u8; 11] = head.get(..11)?.try_into().ok()?;
    let mut out = vec![0, fixed[1], fixed[3], fixed[2], fixed[7], fixed[6], fixed[5], fixed[4], fixed[9], fixed[8]];
    out.push(fixed[10]);
    if fixed[10] != 0 {
        out.extend_from_slice(head.get(11..13 + usize::from(fixed[1]))?);
    }
    Some(out.into())
}

/// How many samples at 48 kHz a packet decodes to; 0 for an empty or senseless one.
pub(crate) fn packet_samples(packet: &[u8]) -> u32 {
    let Some(&toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).map_or(0, |b| b & 63)),
    };
    // RFC 6716 §3.2.5: at most 120 ms.
    if frame * frames > 5760 { 0 } else { frame * frames }
}

#[cfg(test)]
mod tests {
    #[test]
    fn packets_tell_their_length() {
        assert_eq!(super::packet_samples(&[0xfc, 0xff, 0xfe]), 960);
        assert_eq!(super::packet_samples(&[0x03 | 11 << 3, 2]), 5760);
        assert_eq!(super::packet_samples(&[0x03 | 11 << 3, 63]), 0);
    }
}
