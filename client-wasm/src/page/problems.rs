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
    /// How long the server has been here but no peer.
    pub alone_for_ms: Option<f64>,
    /// Somebody may be here: a connection is being made.
    pub connecting: bool,
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
            problem(ProblemCode::ServerRefused, Some(format!("{reason:?}"))),
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
        return Some((problem(ProblemCode::NobodyHere, None), None));
    }
    None
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
        connecting: false,
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
