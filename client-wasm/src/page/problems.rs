//! Which of several problems a person should hear of. Pure.

use crate::bridge::{Problem, ProblemCode};
use baton_signal_protocol::Refusal;

/// What is known at the moment.
pub struct Facts<'a> {
    /// From the engine or the player: nothing goes on by itself.
    pub fatal: Option<&'a Problem>,
    /// The server's last word, until it welcomes us.
    pub refused: Option<Refusal>,
    /// How long the server has been away.
    pub lost_for_ms: Option<f64>,
    /// Until the next attempt.
    pub retry_s: f64,
    /// How long the server has been here but nobody who helps: see [`Alone`].
    pub alone_for_ms: Option<f64>,
    /// From the player: it goes on, but something is not as it should be.
    pub note: Option<&'a Problem>,
    /// Somebody may be here: a connection is being made.
    pub connecting: bool,
    /// Somebody who has what is missing is here and passes nothing on.
    pub paused: bool,
    /// Nothing is wanted from anybody.
    pub done: bool,
    pub closed: bool,
}

/// The gravest problem, with the seconds until something is tried again by itself.
pub fn choose(facts: &Facts) -> Option<(Problem, Option<f64>)> {
    let problem = |code, detail: Option<String>| Problem { code, detail };
    if facts.closed {
        return None;
    }
    if let Some(fatal) = facts.fatal {
        return Some((fatal.clone(), None));
    }
    if let Some(reason) = facts.refused {
        return Some((
            problem(ProblemCode::ServerRefused, Some(code_of(reason).into())),
            Some(facts.retry_s),
        ));
    }
    if facts.lost_for_ms.is_some_and(|ms| ms > LOST_AFTER_MS) {
        return Some((problem(ProblemCode::ServerLost, None), Some(facts.retry_s)));
    }
    let patience_ms = if facts.connecting {
        CONNECT_PATIENCE_MS
    } else {
        ALONE_AFTER_MS
    };
    if !facts.done && facts.alone_for_ms.is_some_and(|ms| ms > patience_ms) {
        let code = match facts.paused {
            true => ProblemCode::AllPaused,
            false => ProblemCode::NobodyHere,
        };
        return Some((problem(code, None), None));
    }
    facts.note.map(|note| (note.clone(), None))
}

/// Since when somebody has been alone: the server is here, and nobody who can help. Others who wait for the same are company, not help;
/// as long as anything comes it is help enough, because whoever passes it on may get more.
#[derive(Default)]
pub struct Alone {
    since_ms: Option<f64>,
    received: u64,
}

/// What there is to see around.
pub struct Around {
    /// The server has let us in.
    pub welcomed: bool,
    pub peers: usize,
    /// All that is missing is at one of them who passes on.
    pub reachable: bool,
    /// Bytes so far.
    pub received: u64,
}

impl Alone {
    /// How it is now. Whoever was never welcomed is not alone but lost.
    pub fn look(&mut self, now_ms: f64, around: &Around) {
        let comes = around.received != self.received;
        self.received = around.received;
        let helped = around.peers > 0 && (around.reachable || comes);
        self.since_ms = match around.welcomed && !helped {
            true => self.since_ms.or(Some(now_ms)),
            false => None,
        };
    }

    /// Milliseconds; `None` for somebody in good company.
    pub fn for_ms(&self, now_ms: f64) -> Option<f64> {
        self.since_ms.map(|since| now_ms - since)
    }
}

/// The server's reason as the pages know it (web/src/messages.ts has the words).
fn code_of(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Version => "version",
        Refusal::Clock => "clock",
        Refusal::Signature => "signature",
        Refusal::Malformed => "malformed",
        Refusal::TooLarge => "too-large",
        Refusal::NotBinary => "not-binary",
        Refusal::Order => "order",
        Refusal::TooFast => "too-fast",
        Refusal::AddressConnections => "address-connections",
        Refusal::AddressSwarms => "address-swarms",
        Refusal::SwarmFull => "swarm-full",
        Refusal::ServerFull => "server-full",
        Refusal::Replaced => "replaced",
        Refusal::Replayed => "replayed",
        Refusal::TooSlow => "too-slow",
        Refusal::Idle => "idle",
    }
}

/// A server that is away for less is not worth a word, milliseconds.
const LOST_AFTER_MS: f64 = 2500.0;
/// A first connection takes a fraction of this, milliseconds.
const ALONE_AFTER_MS: f64 = 3000.0;
/// Behind strict firewalls a connection may take this long to come about, milliseconds.
const CONNECT_PATIENCE_MS: f64 = 13_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Facts<'static> = Facts {
        fatal: None,
        refused: None,
        lost_for_ms: None,
        retry_s: 4.0,
        alone_for_ms: None,
        note: None,
        connecting: false,
        paused: false,
        done: false,
        closed: false,
    };

    fn code(facts: &Facts) -> Option<ProblemCode> {
        choose(facts).map(|(problem, _)| problem.code)
    }

    #[test]
    fn a_short_loss_is_not_worth_a_word_and_a_long_one_says_when_it_is_tried_again() {
        assert_eq!(
            code(&Facts {
                lost_for_ms: Some(500.0),
                ..CALM
            }),
            None
        );
        let (problem, retry_s) = choose(&Facts {
            lost_for_ms: Some(5000.0),
            ..CALM
        })
        .expect("a problem");
        assert_eq!(
            (problem.code, retry_s),
            (ProblemCode::ServerLost, Some(4.0))
        );
    }

    #[test]
    fn nobody_here_is_no_problem_for_someone_who_has_everything() {
        let alone = Facts {
            alone_for_ms: Some(60_000.0),
            ..CALM
        };
        assert_eq!(code(&alone), Some(ProblemCode::NobodyHere));
        assert_eq!(
            code(&Facts {
                done: true,
                ..alone
            }),
            None
        );
    }

    #[test]
    fn somebody_whom_we_are_connecting_with_is_not_nobody() {
        let connecting = Facts {
            alone_for_ms: Some(5_000.0),
            connecting: true,
            ..CALM
        };
        assert_eq!(code(&connecting), None);
        assert_eq!(
            code(&Facts {
                alone_for_ms: Some(20_000.0),
                ..connecting
            }),
            Some(ProblemCode::NobodyHere)
        );
    }

    const AROUND: Around = Around {
        welcomed: true,
        peers: 0,
        reachable: false,
        received: 0,
    };

    #[test]
    fn who_loses_the_last_peer_after_an_hour_is_alone_from_then_on() {
        let (mut alone, company) = (
            Alone::default(),
            Around {
                peers: 3,
                reachable: true,
                ..AROUND
            },
        );
        alone.look(
            100.0,
            &Around {
                welcomed: false,
                ..AROUND
            },
        );
        assert_eq!(alone.for_ms(5_000.0), None);
        alone.look(200.0, &AROUND);
        alone.look(700.0, &AROUND);
        assert_eq!(alone.for_ms(1_200.0), Some(1_000.0));
        alone.look(1_500.0, &company);
        assert_eq!(alone.for_ms(3_600_000.0), None);
        alone.look(3_600_000.0, &AROUND);
        assert_eq!(alone.for_ms(3_600_500.0), Some(500.0));
    }

    #[test]
    fn others_who_wait_for_the_same_are_no_help_unless_something_comes_from_them() {
        let waiting = |received| Around {
            peers: 2,
            received,
            ..AROUND
        };
        let mut alone = Alone::default();
        alone.look(0.0, &waiting(0));
        alone.look(1_000.0, &waiting(0));
        assert_eq!(alone.for_ms(1_000.0), Some(1_000.0));
        alone.look(1_500.0, &waiting(16_384));
        assert_eq!(alone.for_ms(1_500.0), None);
        alone.look(2_000.0, &waiting(16_384));
        assert_eq!(alone.for_ms(6_000.0), Some(4_000.0));
    }

    #[test]
    fn whoever_has_it_and_keeps_it_is_not_nobody() {
        let paused = Facts {
            alone_for_ms: Some(60_000.0),
            paused: true,
            ..CALM
        };
        assert_eq!(code(&paused), Some(ProblemCode::AllPaused));
    }

    #[test]
    fn a_note_waits_for_what_is_graver() {
        let note = Problem {
            code: ProblemCode::NoSound,
            detail: None,
        };
        let noted = Facts {
            note: Some(&note),
            ..CALM
        };
        assert_eq!(code(&noted), Some(ProblemCode::NoSound));
        let alone_for_ms = Some(60_000.0);
        assert_eq!(
            code(&Facts {
                alone_for_ms,
                ..noted
            }),
            Some(ProblemCode::NobodyHere)
        );
    }

    #[test]
    fn what_cannot_mend_itself_comes_first() {
        let fatal = Problem {
            code: ProblemCode::Fraud,
            detail: None,
        };
        let facts = Facts {
            fatal: Some(&fatal),
            refused: Some(Refusal::Signature),
            lost_for_ms: Some(9e9),
            ..CALM
        };
        assert_eq!(code(&facts), Some(ProblemCode::Fraud));
        assert_eq!(
            code(&Facts {
                closed: true,
                ..facts
            }),
            None
        );
    }
}
