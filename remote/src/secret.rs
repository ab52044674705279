//! From a code or a scanned token to a key that two ends share, and from that key to a session.
//!
//! - Code: SPAKE2 (Abdalla and Pointcheval 2005, over edwards25519), the word as password. Whoever is in between guesses once per try.
//! - Token: X25519 with the television's key from the QR code, which no server sees.
//! - Session: two nonces under the pair's key, a key for each way, a counter that may not skip. So nothing is read, reordered, left out or replayed
//!   unnoticed.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use curve25519_dalek::montgomery::MontgomeryPoint;
use spake2::{Ed25519Group, Identity, Password, Spake2};

use crate::Chance;
use baton_signal_protocol::PeerId;

/// What a television and one telephone share for good. Whoever has it commands the television.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PairKey(pub [u8; 32]);

/// Which telephone: derived from its key, so it says nothing by itself.
pub type PairId = [u8; 16];

/// Where a pairing takes place: the swarm of the television's pairing room and both PeerIds in it.
#[derive(Clone, Copy)]
pub struct Meeting {
    pub room: [u8; 32],
    pub phone: PeerId,
    pub tv: PeerId,
}

/// A SPAKE2 run that waits for the other's message.
pub struct Pake(Spake2<Ed25519Group>);

impl Meeting {
    /// `name` and `word` are the two halves of the code: a run for another name comes to another key.
    pub fn start_phone(&self, code: crate::Code, chance: &mut Chance) -> (Pake, Vec<u8>) {
        let (password, phone, tv) = self.pake_words(code);
        let (state, message) = Spake2::start_a_with_rng(&password, &phone, &tv, chance);
        (Pake(state), message)
    }

    pub fn start_tv(&self, code: crate::Code, chance: &mut Chance) -> (Pake, Vec<u8>) {
        let (password, phone, tv) = self.pake_words(code);
        let (state, message) = Spake2::start_b_with_rng(&password, &phone, &tv, chance);
        (Pake(state), message)
    }

    fn pake_words(&self, code: crate::Code) -> (Password, Identity, Identity) {
        let halves = [code.name.to_be_bytes(), code.word.to_be_bytes()].concat();
        let who = |what: &[u8], peer: &PeerId| Identity::new(&[what, &self.room, peer].concat());
        (
            Password::new(halves),
            who(b"baton phone 1", &self.phone),
            who(b"baton tv 1", &self.tv),
        )
    }

    /// The key that comes of a finished SPAKE2 run. Wrong codes and meddling show when its proofs are compared, not here.
    pub fn pake_key(&self, pake: Pake, theirs: &[u8]) -> Option<PairKey> {
        let shared = pake.0.finish(theirs).ok()?;
        Some(self.key(b"code", &shared, &[]))
    }

    /// The key that comes of a scanned token: `secret` with `theirs`, one of which is the television's and one the telephone's.
    pub fn scan_key(
        &self,
        secret: [u8; 32],
        theirs: [u8; 32],
        phone_public: &[u8; 32],
    ) -> Option<PairKey> {
        let shared = MontgomeryPoint(theirs).mul_clamped(secret);
        // A point of small order gives zero to everybody (RFC 7748 §6.1).
        (shared.0 != [0; 32]).then(|| self.key(b"scan", &shared.0, phone_public))
    }

    fn key(&self, how: &[u8], shared: &[u8], more: &[u8]) -> PairKey {
        PairKey(derive(
            "baton remote 1 pair key",
            &[how, shared, more, &self.room, &self.phone, &self.tv],
        ))
    }
}

/// The public half of an X25519 secret.
pub fn public_of(secret: [u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(secret).0
}

impl PairKey {
    pub fn id(&self) -> PairId {
        derive("baton remote 1 pair id", &[&self.0])[..16]
            .try_into()
            .expect("16 of 32 bytes")
    }

    /// What shows that `side` came to this key, without showing the key.
    pub fn proof(&self, side: Side) -> [u8; 32] {
        derive("baton remote 1 proof", &[&self.0, &[side as u8]])
    }

    /// Whether `proof` is that side's; the time it takes says nothing.
    pub fn is_proof(&self, side: Side, proof: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.proof(side)) == blake3::Hash::from_bytes(*proof)
    }

    /// Seals what the television gives to a new telephone; `nonce` is random.
    pub fn seal_grant(&self, nonce: [u8; 24], grant: &[u8]) -> Vec<u8> {
        let mut sealed = grant.to_vec();
        self.grant_cipher()
            .encrypt_in_place(&nonce.into(), b"baton grant 1", &mut sealed)
            .expect("a vector grows and a grant is short");
        [&nonce[..], &sealed].concat()
    }

    pub fn open_grant(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<24>()?;
        let mut grant = rest.to_vec();
        self.grant_cipher()
            .decrypt_in_place(&(*nonce).into(), b"baton grant 1", &mut grant)
            .ok()?;
        Some(grant)
    }

    fn grant_cipher(&self) -> XChaCha20Poly1305 {
        let key = derive("baton remote 1 grant", &[&self.0]);
        XChaCha20Poly1305::new(&key.into())
    }

    /// The session that two nonces begin, as `side` has it.
    pub fn session(&self, side: Side, phone_nonce: &[u8; 16], tv_nonce: &[u8; 16]) -> Session {
        let key = |way: Side| {
            derive(
                "baton remote 1 session",
                &[&self.0, phone_nonce, tv_nonce, &[way as u8]],
            )
        };
        Session {
            sealing: key(side),
            opening: key(side.other()),
            sent: 0,
            opened: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    Phone = 0,
    Tv = 1,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Phone => Self::Tv,
            Self::Tv => Self::Phone,
        }
    }
}

/// A sealed, ordered, replay-proof way between the two: each message has the next number, or it is none.
pub struct Session {
    sealing: [u8; 32],
    opening: [u8; 32],
    sent: u64,
    opened: u64,
}

impl Session {
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        XChaCha20Poly1305::new(&self.sealing.into())
            .encrypt_in_place(&nonce(self.sent).into(), b"", &mut sealed)
            .expect("a vector grows and a message is short");
        self.sent += 1;
        sealed
    }

    /// `None`: not the next message of this session. Nothing has changed then.
    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = sealed.to_vec();
        XChaCha20Poly1305::new(&self.opening.into())
            .decrypt_in_place(&nonce(self.opened).into(), b"", &mut plain)
            .ok()?;
        self.opened += 1;
        Some(plain)
    }

    /// Whether anything of theirs has been opened: the proof that the other end is in this very session, and no recording.
    pub fn is_proven(&self) -> bool {
        self.opened > 0
    }
}

/// The number of a message, as the nonce of a key that is used for one way of one session.
fn nonce(number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// BLAKE3 in its key derivation mode; each part behind its length, so that no two lists of parts are one.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u32).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn meeting() -> Meeting {
        Meeting {
            room: [1; 32],
            phone: [2; 32],
            tv: [3; 32],
        }
    }

    fn run(
        phone_code: Code,
        tv_code: Code,
        phone_at: Meeting,
        tv_at: Meeting,
    ) -> (PairKey, PairKey) {
        let (phone, to_tv) = phone_at.start_phone(phone_code, &mut Chance::new(&[4; 32]));
        let (tv, to_phone) = tv_at.start_tv(tv_code, &mut Chance::new(&[5; 32]));
        (
            phone_at.pake_key(phone, &to_phone).unwrap(),
            tv_at.pake_key(tv, &to_tv).unwrap(),
        )
    }

    #[test]
    fn one_code_gives_both_one_key_and_another_code_gives_another() {
        let code = Code { name: 7, word: 9 };
        let (phone, tv) = run(code, code, meeting(), meeting());
        assert!(phone == tv && tv.is_proof(Side::Phone, &phone.proof(Side::Phone)));
        assert!(
            !tv.is_proof(Side::Tv, &phone.proof(Side::Phone)),
            "no proof can be sent back"
        );
        let wrong = Code { word: 10, ..code };
        let (phone, tv) = run(wrong, code, meeting(), meeting());
        assert!(phone != tv && !tv.is_proof(Side::Phone, &phone.proof(Side::Phone)));
    }

    #[test]
    fn whoever_stands_between_with_another_name_gets_another_key() {
        let code = Code { name: 7, word: 9 };
        let elsewhere = Meeting {
            phone: [9; 32],
            ..meeting()
        };
        let (phone, tv) = run(code, code, meeting(), elsewhere);
        assert!(phone != tv);
    }

    #[test]
    fn a_scanned_key_leads_to_one_key_and_a_small_point_to_none() {
        let (tv, phone) = ([11; 32], [12; 32]);
        let phone_public = public_of(phone);
        let one = meeting().scan_key(phone, public_of(tv), &phone_public);
        assert!(one.is_some() && one == meeting().scan_key(tv, phone_public, &phone_public));
        assert!(meeting().scan_key(tv, [0; 32], &[0; 32]).is_none());
    }

    #[test]
    fn a_session_takes_each_message_once_and_in_order() {
        let key = PairKey([6; 32]);
        let mut phone = key.session(Side::Phone, &[1; 16], &[2; 16]);
        let mut tv = key.session(Side::Tv, &[1; 16], &[2; 16]);
        let sealed: Vec<_> = [b"one", b"two", b"six"].map(|it| phone.seal(it)).into();
        assert_eq!(tv.open(&sealed[1]), None, "the first was left out");
        assert_eq!(tv.open(&sealed[0]).as_deref(), Some(&b"one"[..]));
        assert_eq!(tv.open(&sealed[0]), None, "a replay");
        assert_eq!(tv.open(&sealed[1]).as_deref(), Some(&b"two"[..]));
        assert_eq!(
            phone.open(&sealed[2]),
            None,
            "sent back to where it came from"
        );
        let mut later = key.session(Side::Tv, &[1; 16], &[3; 16]);
        assert_eq!(
            later.open(&sealed[0]),
            None,
            "recorded in an earlier session"
        );
    }

    #[test]
    fn a_grant_opens_under_its_own_key_only() {
        let sealed = PairKey([1; 32]).seal_grant([7; 24], b"room");
        assert_eq!(
            PairKey([1; 32]).open_grant(&sealed).as_deref(),
            Some(&b"room"[..])
        );
        assert_eq!(PairKey([2; 32]).open_grant(&sealed), None);
        assert_eq!(PairKey([1; 32]).open_grant(&sealed[..30]), None);
    }
}
