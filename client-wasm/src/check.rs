//! A look at ourselves: what the tests run in Node, in both builds, where there is neither page nor worker.

use baton_content::{
    ContentKey, DATA_LANE, Header, Link, PIECE_LEN, PieceFlags, PieceId, PieceMeta, PublisherKey,
    Secret, seal_blocks,
};
use wasm_bindgen::prelude::*;

/// Seals a piece, sends its header through bytes, verifies every block, opens it, and checks that a flipped bit is
/// noticed. Returns the piece's root in hexadecimal, which is the same in every build.
#[wasm_bindgen(js_name = selfCheck)]
pub fn self_check() -> Result<String, JsValue> {
    check().map_err(|what| js_sys::Error::new(what).into())
}

fn check() -> Result<String, &'static str> {
    let publisher = PublisherKey::from_seed([1; 32]);
    let swarm = Link::new(publisher.id(), Secret([2; 16])).keys().swarm.id();
    let key = ContentKey::from_random([3; 32]).lane_key(DATA_LANE);
    let piece = PieceId::new(DATA_LANE, 7);
    let flags = PieceFlags::NONE;
    let meta = PieceMeta {
        swarm,
        epoch: 0,
        lane: piece.lane,
        index: piece.index,
        flags,
        media_time_us: 0,
    };
    let plain: Vec<u8> = (0..PIECE_LEN as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let sealed = seal_blocks(&key, &publisher, meta, plain.clone());
    let header = Header::parse(sealed.header().bytes().clone(), &publisher.id(), &swarm)
        .map_err(|_| "header")?;
    let mut opened = Vec::with_capacity(PIECE_LEN);
    for block in sealed.blocks() {
        let verified = header
            .verify(block.block(), block.bytes().clone())
            .map_err(|_| "a good block was refused")?;
        let mut bytes = verified.bytes().to_vec();
        bytes[100] ^= 1;
        if header.check(block.block(), &bytes).is_ok() {
            return Err("a bad block was taken");
        }
        bytes[100] ^= 1;
        key.apply(header.core(), block.block(), &mut bytes);
        opened.extend_from_slice(&bytes);
    }
    if opened != plain {
        return Err("opened is not what was sealed");
    }
    Ok(header
        .root()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
