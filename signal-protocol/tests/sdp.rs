//! SDPs that Chromium 156 and Firefox 153 made, and SDPs that somebody with bad intentions might.

use baton_signal_protocol::sdp::SdpError;
use baton_signal_protocol::*;
use proptest::prelude::*;

const CHROMIUM_OFFER_MDNS: &str = include_str!("sdp/chromium-156-offer-mdns.sdp");
const CHROMIUM_ANSWER: &str = include_str!("sdp/chromium-156-answer.sdp");
const FIREFOX_OFFER_MDNS: &str = include_str!("sdp/firefox-153-offer-mdns.sdp");
const FIREFOX_ANSWER: &str = include_str!("sdp/firefox-153-answer.sdp");

fn read(sdp: &str) -> Description {
    Description::from_local_sdp(sdp, [4; 16]).unwrap()
}

#[test]
fn chromium_offers_with_mdns_names() {
    let offer = read(CHROMIUM_OFFER_MDNS);
    assert_eq!(
        (offer.ufrag.as_str(), offer.pwd.as_str()),
        ("JTgy", "MJzoYo7zbIJEcGktkVVgH964")
    );
    assert_eq!(
        (
            offer.setup,
            offer.fingerprint[0],
            offer.fingerprint[31],
            offer.session_nonce
        ),
        (Setup::ActPass, 0x5e, 0xaf, [4; 16])
    );
    assert_eq!(
        offer.candidates[0],
        IceCandidate {
            foundation: "2548380031".into(),
            transport: Transport::Udp,
            priority: 2_113_937_151,
            address: Address::Mdns("eeb4089b-4a81-4b83-9b25-6aba17a3e4ec".into()),
            port: 32814,
            kind: CandidateKind::Host,
        }
    );
    assert_eq!(offer.candidates.len(), 2);
}

#[test]
fn chromium_answers_with_addresses_of_both_families() {
    let answer = read(CHROMIUM_ANSWER);
    assert_eq!(answer.setup, Setup::Active);
    assert_eq!(answer.candidates[0].address, Address::V4([192, 0, 2, 2]));
    assert_eq!(
        answer.candidates[1].address,
        Address::V6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    );
}

#[test]
fn firefox_offers_with_mdns_names_and_tcp() {
    let offer = read(FIREFOX_OFFER_MDNS);
    assert_eq!(
        (offer.ufrag.as_str(), offer.pwd.len(), offer.setup),
        ("935418e8", 32, Setup::ActPass)
    );
    assert_eq!((offer.fingerprint[0], offer.fingerprint[31]), (0x52, 0x0e));
    let tcp = &offer.candidates[2];
    assert_eq!(
        (tcp.transport, tcp.port),
        (Transport::Tcp(TcpType::Active), 9)
    );
    assert_eq!(
        tcp.address,
        Address::Mdns("9a24de89-ab16-4d5b-b3dc-1467a3761a90".into())
    );
    assert_eq!(offer.candidates.len(), 4);
}

#[test]
fn what_is_written_reads_back_the_same() {
    for sdp in [
        CHROMIUM_OFFER_MDNS,
        CHROMIUM_ANSWER,
        FIREFOX_OFFER_MDNS,
        FIREFOX_ANSWER,
    ] {
        let description = read(sdp);
        assert_eq!(read(&description.to_remote_sdp().unwrap()), description);
    }
}

#[test]
fn the_template_is_exactly_this() {
    let sdp = read(CHROMIUM_ANSWER).to_remote_sdp().unwrap();
    assert_eq!(
        sdp,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
         c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:uWJJ\r\na=ice-pwd:2u5ZaHNMj7HFv6Q+UCJitcin\r\na=ice-options:trickle\r\n\
         a=fingerprint:sha-256 76:83:CE:CC:D1:9B:17:32:9A:48:D5:23:30:09:10:F6:8D:5A:DE:57:BF:12:35:9D:56:32:34:8C:13:9D:DE:87\r\n\
         a=setup:active\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n\
         a=candidate:47767377 1 udp 2113937151 192.0.2.2 41506 typ host\r\n\
         a=candidate:3384680113 1 udp 2113942271 fd00::2 32862 typ host\r\n"
    );
}

#[test]
fn candidates_of_every_kind_are_understood_and_the_related_address_is_left_out() {
    for (line, written) in [
        (
            "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-id 3",
            "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0",
        ),
        (
            "a=candidate:3 1 UDP 92217087 198.51.100.3 51237 typ relay raddr 198.51.100.3 rport 51237",
            "candidate:3 1 udp 92217087 198.51.100.3 51237 typ relay raddr 0.0.0.0 rport 0",
        ),
        (
            "candidate:1 1 udp 5 2001:db8::1 1 typ prflx raddr :: rport 9",
            "candidate:1 1 udp 5 2001:db8::1 1 typ prflx raddr :: rport 0",
        ),
        (
            "2 1 TCP 9 192.0.2.1 9 typ host tcptype active",
            "candidate:2 1 tcp 9 192.0.2.1 9 typ host tcptype active",
        ),
        (
            "2 1 tcp 9 192.0.2.1 4000 typ host tcptype passive",
            "candidate:2 1 tcp 9 192.0.2.1 4000 typ host tcptype passive",
        ),
    ] {
        assert_eq!(
            IceCandidate::parse(line).unwrap().unwrap().to_line(),
            written
        );
    }
}

#[test]
fn candidates_of_no_use_are_skipped() {
    for line in [
        "",
        "candidate:",
        "candidate:1 2 udp 5 192.0.2.1 9 typ host",
        "candidate:1 1 dccp 5 192.0.2.1 9 typ host",
        "candidate:1 1 tcp 5 192.0.2.1 9 typ host",
        "candidate:1 1 udp 5 example.com 9 typ host",
        "candidate:1 1 udp 5 192.0.2.1 9 typ telepathy",
    ] {
        assert_eq!(IceCandidate::parse(line), Ok(None), "{line}");
    }
}

#[test]
fn malformed_candidates_are_refused() {
    for line in [
        "candidate:1 1 udp",
        "candidate:1 1 udp -5 192.0.2.1 9 typ host",
        "candidate:1 1 udp +5 192.0.2.1 9 typ host",
        "candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
        "candidate:1 1 udp 5 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 5 192.0.2.1 9 type host",
        "candidate:1 1 udp 5 192.0.2.1 9\r\na=evil typ host",
        "candidate:1\n 1 udp 5 192.0.2.1 9 typ host",
        "candidate:\u{e9} 1 udp 5 192.0.2.1 9 typ host",
        "candidate:1 1 tcp 5 192.0.2.1 9 typ host tcptype sideways",
        "candidate:a_b 1 udp 5 192.0.2.1 9 typ host",
        "candidate:1 1 udp 5 under_score.local 9 typ host",
        "candidate:1 1 udp 5 .local 9 typ host",
        "candidate:1 1 udp 5 224.0.0.251 9 typ host",
        "candidate:1 1 udp 5 ff02::fb 9 typ host",
        "candidate:1 1 udp 5 ::ffff:224.0.0.251 9 typ host",
    ] {
        assert!(IceCandidate::parse(line).is_err(), "{line}");
    }
    assert_eq!(
        IceCandidate::parse(&format!("candidate:{}", "1".repeat(600))),
        Err(SdpError::TooLong)
    );
    let long = format!("candidate:1 1 udp 5 {}.local 9 typ host", "a".repeat(64));
    assert_eq!(
        IceCandidate::parse(&long),
        Err(SdpError::Description(DescriptionError::Mdns { index: 0 }))
    );
}

#[test]
fn an_sdp_must_have_one_section_one_fingerprint_and_sane_fields() {
    let read = |from: &str, to: &str| {
        assert!(CHROMIUM_ANSWER.contains(from), "{from}");
        Description::from_local_sdp(&CHROMIUM_ANSWER.replace(from, to), [0; 16]).unwrap_err()
    };
    assert_eq!(
        read("a=fingerprint:sha-256 76", "a=fingerprint:sha-1 76"),
        SdpError::Malformed("fingerprint")
    );
    assert_eq!(read(":DE:87", ":DE"), SdpError::Malformed("fingerprint"));
    assert_eq!(
        read(":DE:87", ":DE:87:00"),
        SdpError::Malformed("fingerprint")
    );
    assert_eq!(read(":DE:87", ":DE:+7"), SdpError::Malformed("fingerprint"));
    assert_eq!(
        read("a=fingerprint", "a=thumbprint"),
        SdpError::Missing("fingerprint")
    );
    let second = "a=fingerprint:sha-256 00:83:CE:CC:D1:9B:17:32:9A:48:D5:23:30:09:10:F6:8D:5A:DE:57:BF:12:35:9D:56:32:34:8C:13:9D:DE:87";
    assert_eq!(
        read("a=setup", &format!("{second}\r\na=setup")),
        SdpError::Twice("fingerprint")
    );
    assert_eq!(
        read("a=setup:active", "a=setup:holdconn"),
        SdpError::Malformed("setup")
    );
    assert_eq!(
        read("a=ice-ufrag:uWJJ", "a=ice-ufrag:u WJJ"),
        SdpError::Description(DescriptionError::Ufrag)
    );
    assert_eq!(
        read("a=mid:0", "a=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96"),
        SdpError::Sections
    );
    assert_eq!(
        Description::from_local_sdp("", [0; 16]),
        Err(SdpError::Sections)
    );
    assert_eq!(
        Description::from_local_sdp(&" ".repeat(20_000), [0; 16]),
        Err(SdpError::TooLong)
    );
}

#[test]
fn nothing_is_written_that_was_not_checked() {
    let mut description = read(FIREFOX_ANSWER);
    description.pwd = "x\r\na=candidate:1 1 udp 1 192.0.2.9 1 typ host".into();
    assert_eq!(
        description.to_remote_sdp(),
        Err(SdpError::Description(DescriptionError::Pwd))
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,300}", line in "(candidate:)?[a-z0-9 .:/+-]{0,120}") {
        let _ = Description::from_local_sdp(&text, [0; 16]);
        let _ = IceCandidate::parse(&text);
        let _ = IceCandidate::parse(&line);
    }

    #[test]
    fn what_is_written_has_one_fact_per_line(
        foundation in "[a-zA-Z0-9+/]{1,32}", name in "[a-zA-Z0-9-]{1,63}", priority in any::<u32>(), port in 1u16..,
    ) {
        let candidate = IceCandidate { foundation, transport: Transport::Udp, priority, address: Address::Mdns(name), port, kind: CandidateKind::Host };
        let line = candidate.to_line();
        prop_assert!(!line.contains(['\r', '\n']));
        prop_assert_eq!(IceCandidate::parse(&line), Ok(Some(candidate)));
    }
}
