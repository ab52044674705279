//! A television and telephones pair and talk through a real server, over real sockets.

use std::time::Duration;

use baton_remote::phone::Token;
use baton_remote::words::Phase;
use baton_remote::{Code, Command, Failure, NoCode, Output, Phone, Report, State};
use baton_signal_protocol::message::Finding;
use baton_signal_protocol::{ClientMessage, Refusal, ServerMessage};
use baton_tests::remote::{Host, by_code, code_of, linked, now_ms, paired, tv};
use baton_tests::signalling::{Client, Identity, server};
use baton_tests::tap::Tap;
use baton_tests::while_working;

const LINK: &str = "http://127.0.0.1:8080/#AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefgh";

#[tokio::test]
async fn a_code_pairs_a_phone_which_commands_the_tv_and_hears_how_things_stand() {
    let server = server(|_| ()).await;
    let mut tv = tv(server.address(), 1, &[]);
    let (code, _) = tv.until(code_of).await;
    let mut phone = by_code(server.address(), 2, &code.to_lowercase());
    let bytes = while_working!(tv, phone.until(paired)).unwrap();
    while_working!(tv, phone.until(linked));

    let open = Command::Open {
        link: LINK.to_owned(),
        at_ms: 61_000,
    };
    assert!(phone.end.command(&open, now_ms()));
    let command = |output: &Output| match output {
        Output::Command { command, .. } if *command != Command::Look => Some(command.clone()),
        _ => None,
    };
    let looks = |output: &Output| match output {
        Output::Command { command, .. } if *command == Command::Look => Some(()),
        _ => None,
    };
    assert_eq!(while_working!(phone, tv.until(command)), open);
    let state = State {
        link: LINK.to_owned(),
        phase: Phase::Playing,
        position_ms: 61_500,
        ..State::default()
    };
    tv.end.report(Report::State(state.clone()));
    let told = |output: &Output| match output {
        Output::Report {
            report: Report::State(state),
        } => Some(state.clone()),
        _ => None,
    };
    assert_eq!(while_working!(tv, phone.until(told)), state);

    // The telephone goes and comes back later, by what it kept, and is told how things stand.
    drop(phone);
    let later = Phone::with_known(
        &[3; 32],
        &server.address().to_string(),
        &bytes,
        "Anna's phone",
        now_ms(),
    );
    let mut later = Host::new(later.unwrap(), server.address());
    while_working!(later, tv.until(looks));
    tv.end.report(Report::State(state.clone()));
    assert_eq!(while_working!(tv, later.until(told)), state);
}

#[tokio::test]
async fn a_scanned_token_pairs_too_and_a_tv_that_was_switched_off_is_found_again() {
    let server = server(|_| ()).await;
    let mut first = tv(server.address(), 1, &[]);
    let (_, token) = first.until(code_of).await;
    let host = server.address().to_string();
    let phone = Phone::with_token(&[2; 32], &host, &token, "Anna's phone", now_ms());
    let mut phone = Host::new(phone.unwrap(), server.address());
    let mut saved = Vec::new();
    let pairing = phone.until(paired);
    let keeping = first.until(|output| {
        if let Output::Save { bytes } = output {
            saved = bytes.clone();
        }
        None::<()>
    });
    tokio::select! {
        paired = pairing => { paired.unwrap(); },
        () = keeping => {},
    }
    while_working!(first, phone.until(linked));
    drop(first);
    phone
        .until(|output| matches!(output, Output::Linked { yes: false }).then_some(()))
        .await;
    // `saved` was kept before or while the grant went out.
    let mut again = tv(server.address(), 9, &saved);
    while_working!(again, phone.until(linked));
}

#[tokio::test]
async fn a_wrong_code_pairs_nobody_and_the_third_one_ends_it() {
    let server = server(|_| ()).await;
    let mut tv = tv(server.address(), 1, &[]);
    let (text, _) = tv.until(code_of).await;
    let right = Code::parse(&text).unwrap();
    for seed in 2..5 {
        let wrong = Code {
            word: right.word ^ u16::from(seed),
            ..right
        };
        let mut phone = by_code(server.address(), seed, &wrong.to_string());
        assert_eq!(while_working!(tv, phone.until(paired)), Err(Failure::Wrong));
    }
    let ended =
        |output: &Output| matches!(output, Output::NoCode { why: NoCode::Tries }).then_some(());
    // Ten seconds later no proof has come.
    tv.end.tick(now_ms() + 10_001.0);
    tv.until(ended).await;
    // Even the right one comes too late: the server names it no more, and a television would not answer.
    let mut phone = by_code(server.address(), 6, &text);
    assert_eq!(
        while_working!(tv, phone.until(paired)),
        Err(Failure::Nobody)
    );
    // A person asks for a new one.
    tv.end.show_code(now_ms());
    let (text, _) = tv.until(code_of).await;
    let mut phone = by_code(server.address(), 7, &text);
    assert!(while_working!(tv, phone.until(paired)).is_ok());
}

#[tokio::test]
async fn after_two_minutes_there_is_another_code_and_the_first_one_is_nobodys() {
    // So that a clock which is put forward does not look like a dead line.
    let server = server(|config| config.limits.keepalive = Duration::from_secs(3600)).await;
    let mut tv = tv(server.address(), 1, &[]);
    let shown = |output: &Output| match output {
        Output::Code { text, until_ms, .. } => Some((text.clone(), *until_ms)),
        _ => None,
    };
    let (first, until_ms) = tv.until(shown).await;
    let lasts_ms = until_ms - now_ms();
    assert!((100_000.0..=120_500.0).contains(&lasts_ms), "{lasts_ms} ms");
    tv.end.tick(until_ms - 1.0);
    while let Some(output) = tv.end.poll() {
        assert!(!matches!(output, Output::Send { line: 1, .. }), "too early");
    }
    tv.end.tick(until_ms);
    let (second, _) = tv.until(shown).await;
    assert_ne!(first, second);
    let mut late = by_code(server.address(), 2, &first);
    let refused = while_working!(tv, late.until(paired));
    assert!(
        matches!(refused, Err(Failure::Nobody | Failure::Wrong)),
        "{refused:?}"
    );
    let mut phone = by_code(server.address(), 3, &second);
    assert!(while_working!(tv, phone.until(paired)).is_ok());
}

#[tokio::test]
async fn a_code_that_nobody_shows_is_nobodys() {
    let server = server(|_| ()).await;
    let mut phone = by_code(server.address(), 2, "AAAAAA");
    assert_eq!(phone.until(paired).await, Err(Failure::Nobody));
}

#[tokio::test]
async fn a_forgotten_phone_is_told_and_commands_nothing_more() {
    let server = server(|_| ()).await;
    let mut tv = tv(server.address(), 1, &[]);
    let (code, _) = tv.until(code_of).await;
    let mut phone = by_code(server.address(), 2, &code);
    let bytes = while_working!(tv, phone.until(paired)).unwrap();
    while_working!(tv, phone.until(linked));
    let here = |output: &Output| match output {
        Output::Phones { list }
            if list
                .first()
                .is_some_and(|it| it.here && it.label == "Anna's phone") =>
        {
            Some(list[0].id.clone())
        }
        _ => None,
    };
    assert!(phone.end.command(
        &Command::Name {
            name: "Living room".into()
        },
        now_ms()
    ));
    let named = |output: &Output| match output {
        Output::Report {
            report: Report::Name { name },
        } if name == "Living room" => Some(()),
        _ => None,
    };
    while_working!(tv, phone.until(named));
    tv.end.forget("no such phone");
    // Its list is told anew whenever it changes.
    let list = tv.end.phones();
    let id = here(&Output::Phones { list }).expect("it is here");
    tv.end.forget(&id);
    let forgotten = |output: &Output| {
        matches!(
            output,
            Output::Report {
                report: Report::Forgotten
            }
        )
        .then_some(())
    };
    while_working!(tv, phone.until(forgotten));
    let host = server.address().to_string();
    let again = Phone::with_known(&[5; 32], &host, &bytes, "Anna's phone", now_ms());
    let mut again = Host::new(again.unwrap(), server.address());
    assert_eq!(while_working!(tv, again.until(paired)), Err(Failure::Wrong));
}

#[tokio::test]
async fn the_server_sees_neither_link_nor_code_nor_name_of_what_a_phone_and_a_tv_say() {
    let server = server(|_| ()).await;
    let tap = Tap::before(server.address()).await;
    let mut tv = tv(tap.address, 1, &[]);
    let (code, token) = tv.until(code_of).await;
    let mut phone = by_code(tap.address, 2, &code);
    let known = while_working!(tv, phone.until(paired)).unwrap();
    while_working!(tv, phone.until(linked));
    let host = tap.address.to_string();
    let other = Phone::with_token(&[7; 32], &host, &token, "Ben's tablet", now_ms());
    let mut other = Host::new(other.unwrap(), tap.address);
    while_working!(tv, other.until(paired)).unwrap();
    for command in [
        Command::Open {
            link: LINK.into(),
            at_ms: 0,
        },
        Command::Name {
            name: "Living room".into(),
        },
    ] {
        assert!(phone.end.command(&command, now_ms()));
    }
    let named = |output: &Output| match output {
        Output::Report {
            report: Report::Name { name },
        } if name == "Living room" => Some(()),
        _ => None,
    };
    while_working!(tv, phone.until(named));
    let state = State {
        link: LINK.into(),
        title: "Secret wedding film".into(),
        ..State::default()
    };
    tv.end.report(Report::State(state));
    let told = |output: &Output| {
        matches!(output, Output::Report { report: Report::State(state) } if !state.link.is_empty())
            .then_some(())
    };
    while_working!(tv, phone.until(told));

    let seen = tap.received();
    assert!(
        seen.len() > 2000,
        "it heard something: {} bytes",
        seen.len()
    );
    let scanned = Token::parse(&token).unwrap();
    let word = Code::parse(&code).unwrap().word;
    let secrets: [(&str, &[u8]); 9] = [
        ("the link", LINK.as_bytes()),
        ("a part of the link", &LINK.as_bytes()[24..40]),
        ("the title", b"Secret wedding"),
        ("the television's name", b"Living room"),
        ("a telephone's name", b"Anna's phone"),
        ("the code", code.as_bytes()),
        ("the QR code's key", &scanned.key),
        ("what a telephone keeps", &known[32..]),
        ("the television's room", &known[..32]),
    ];
    for (what, secret) in secrets {
        assert!(!seen.windows(secret.len()).any(|it| it == secret), "{what}");
    }
    // Two bytes are among so many anyway: the word is not what follows the name.
    let name = ClientMessage::Find {
        name: Code::parse(&code).unwrap().name,
    }
    .encode();
    let at = seen
        .windows(name.len())
        .position(|it| it == name)
        .expect("the name was asked for");
    assert_ne!(seen[at + name.len()..][..2], word.to_be_bytes());
}

#[tokio::test]
async fn a_name_is_found_before_and_after_joining_and_goes_with_its_owner() {
    let server = server(|_| ()).await;
    let (mut owner, _) = Client::join(server.address(), &Identity::new(1, 1)).await;
    owner.say(&ClientMessage::Name { ticket: [9; 32] }).await;
    let ServerMessage::Named {
        name: Some(name),
        lasts_s: 120,
    } = owner.hear().await
    else {
        panic!("no name");
    };
    let mut stranger = Client::connect(server.address()).await;
    stranger.say(&ClientMessage::Find { name }).await;
    assert_eq!(
        stranger.hear().await,
        ServerMessage::Found(Finding::Here([9; 32]))
    );
    let (mut peer, _) = Client::join(server.address(), &Identity::new(2, 2)).await;
    peer.say(&ClientMessage::Find { name }).await;
    assert_eq!(
        peer.hear().await,
        ServerMessage::Found(Finding::Here([9; 32]))
    );
    owner.say(&ClientMessage::Leave).await;
    while owner.frame().await.is_some() {}
    peer.say(&ClientMessage::Find { name }).await;
    assert_eq!(peer.hear().await, ServerMessage::Found(Finding::Nobody));
    // A name is for who has joined.
    stranger.say(&ClientMessage::Name { ticket: [9; 32] }).await;
    assert_eq!(stranger.refusal().await.0, Refusal::Order);
}

#[tokio::test]
async fn an_address_that_tries_one_name_after_another_is_stopped() {
    let server = server(|_| ()).await;
    let mut stranger = Client::connect(server.address()).await;
    let mut answers = Vec::new();
    for name in 0..21 {
        stranger.say(&ClientMessage::Find { name }).await;
        answers.push(stranger.hear().await);
    }
    assert_eq!(answers[19], ServerMessage::Found(Finding::Nobody));
    assert_eq!(answers[20], ServerMessage::Found(Finding::TooMany));
}
