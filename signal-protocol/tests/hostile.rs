//! Messages with changed bytes: refused or read, never a panic, and what is read is written so that it is read the same again.
//!
//! `cargo xtask fuzz messages` does it for longer; a round that fails is named by its seed.

use baton_signal_protocol::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

fn from_clients() -> Vec<ClientMessage> {
    let signed = |_: &[u8]| [3; 64];
    vec![
        ClientMessage::Join(Join::new("a.example", 1, [1; 32], [2; 32], signed, signed)),
        ClientMessage::Relay {
            to: [4; 32],
            blob: vec![5; 700],
        },
        ClientMessage::More,
        ClientMessage::Report(Report {
            completeness_permille: 500,
            free_slots: 3,
            spare_upload_kbit: 20_000,
        }),
        ClientMessage::Leave,
        ClientMessage::Name { ticket: [6; 32] },
        ClientMessage::Find { name: 32_767 },
        ClientMessage::Carry {
            to: [7; 32],
            frame: vec![8; 2000],
        },
    ]
}

fn from_servers() -> Vec<ServerMessage> {
    let candidate = Candidate {
        peer: [1; 32],
        region: Some("NL".into()),
        completeness_permille: 1000,
        free_slots: 2,
    };
    let ice = IceServer {
        urls: vec!["turn:a:1".into(), "turn:a:1?transport=tcp".into()],
        username: Some("1800000000:u".into()),
        credential: Some("c".into()),
    };
    vec![
        ServerMessage::Welcome {
            ice: vec![ice; 3],
            candidates: vec![candidate.clone(); 16],
            keepalive_s: 25,
        },
        ServerMessage::Candidates(vec![candidate; 5]),
        ServerMessage::Relay {
            from: [2; 32],
            blob: vec![9; 700],
        },
        ServerMessage::Refused {
            reason: Refusal::Clock,
            retry_ms: Some(0),
            server_unix_s: 1_800_000_000,
        },
        ServerMessage::GoingAway { retry_ms: 1000 },
        ServerMessage::Named {
            name: Some(300),
            lasts_s: 120,
        },
        ServerMessage::Found(Finding::Here([1; 32])),
        ServerMessage::Carried {
            from: [3; 32],
            frame: vec![4; 2000],
        },
    ]
}

/// A few bytes changed, put in, taken out or cut off; now and then the beginning of one before the end of another.
fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(4) {
        // Lengths and kinds stand among the first bytes.
        let reach = match dice.roll(2) {
            0 => bytes.len().clamp(1, 120),
            _ => bytes.len().max(1),
        };
        let at = dice.roll(reach).min(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.roll(256) as u8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.splice(at..at, [0xff; 9]).for_each(drop),
            4 => {
                let other = &seeds[dice.roll(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[dice.roll(other.len())..]);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn mutated_messages_are_refused_or_read_the_same_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds: u64 = number("FUZZ_ROUNDS").unwrap_or(3000);
    let seed: u64 = number("FUZZ_SEED").unwrap_or(1);
    let clients: Vec<_> = from_clients().iter().map(ClientMessage::encode).collect();
    let servers: Vec<_> = from_servers().iter().map(ServerMessage::encode).collect();
    let (mut read, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut dice = Dice(seed.wrapping_add(round));
        let bytes = mutate(&clients, &mut dice);
        match ClientMessage::decode(&bytes) {
            Ok(message) => {
                read += 1;
                let again = ClientMessage::decode(&message.encode());
                assert_eq!(again.as_ref(), Ok(&message), "FUZZ_SEED={seed}, {round}");
            }
            Err(_) => refused += 1,
        }
        let bytes = mutate(&servers, &mut dice);
        match ServerMessage::decode(&bytes) {
            Ok(message) => {
                read += 1;
                let again = ServerMessage::decode(&message.encode());
                assert_eq!(again.as_ref(), Ok(&message), "FUZZ_SEED={seed}, {round}");
            }
            Err(_) => refused += 1,
        }
    }
    // Both happen, or the mutants are no use.
    assert!(
        read > rounds / 10 && refused > rounds / 10,
        "{read}, {refused}"
    );
}
