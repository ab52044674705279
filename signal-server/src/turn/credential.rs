//! Credentials for relays: made for one peer of one swarm, good for ten minutes to begin with.
//!
//! The user name is `EXPIRY:USER`, the password HMAC-SHA1 of it in base64: what coturn calls `use-auth-secret`, so that an outside coturn with the
//! same secret takes them too. `USER` is a hash of swarm and peer under a key of this process: it says nothing to who reads it, and quotas count by it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use baton_signal_protocol::{PeerId, SwarmId};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// What credentials are made and checked with.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// A user name and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// How long a credential begins relays. What was begun goes on.
pub const LIFETIME_S: u64 = 600;

impl Secret {
    /// `None` makes one that nobody else has.
    pub fn new(secret: Option<&str>) -> Self {
        match secret {
            Some(secret) => Self(secret.as_bytes().to_vec()),
            None => {
                let mut secret = vec![0; 32];
                getrandom::fill(&mut secret).expect("the system has randomness");
                Self(secret)
            }
        }
    }

    pub fn issue(&self, swarm: &SwarmId, peer: &PeerId, unix_s: u64) -> Credential {
        let tag = self.hash(&[b"baton turn user", swarm, peer]);
        let user: String = tag[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let username = format!("{}:{user}", unix_s + LIFETIME_S);
        let password = self.password(&username);
        Credential { username, password }
    }

    pub fn password(&self, username: &str) -> String {
        BASE64_STANDARD.encode(self.hash(&[username.as_bytes()]))
    }

    /// Under this secret, of parts whose lengths are fixed or which stand alone.
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

/// The two parts of a user name: when it expires and who it is. `None` for what we never made.
pub fn parse(username: &str) -> Option<(u64, &str)> {
    let (expiry, user) = username.split_once(':')?;
    let is_user = user.len() == 16 && user.bytes().all(|b| b.is_ascii_hexdigit());
    Some((expiry.parse().ok()?, user)).filter(|_| is_user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_for_one_peer_of_one_swarm_and_says_so_to_nobody_else() {
        let secret = Secret::new(Some("north"));
        let user = |swarm: u8, peer: u8| {
            let made = secret.issue(&[swarm; 32], &[peer; 32], 1000);
            let (expiry, user) = parse(&made.username).unwrap();
            assert_eq!(expiry, 1600);
            assert_eq!(made.password, secret.password(&made.username));
            user.to_owned()
        };
        assert_eq!(user(1, 1), user(1, 1));
        assert_ne!(user(1, 1), user(2, 1));
        assert_ne!(user(1, 1), user(1, 2));
        let other = Secret::new(None).issue(&[1; 32], &[1; 32], 1000);
        assert!(!other.username.ends_with(&user(1, 1)));
    }

    #[test]
    fn the_password_is_what_coturn_makes_of_it() {
        // echo -n 1600:0123456789abcdef | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            Secret::new(Some("north")).password("1600:0123456789abcdef"),
            EXPECTED
        );
    }

    const EXPECTED: &str = "LdB0FkpeVm1n/6n3clRjM/wM2uU=";

    #[test]
    fn what_we_never_made_is_no_user_name() {
        for wrong in [
            "",
            "1600",
            "1600:",
            "x:0123456789abcdef",
            "1600:0123456789abcde",
            "1600:0123456789abcdeg",
            "-1:0123456789abcdef",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
