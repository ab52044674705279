//! What every answer says about what the browser may do with it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// What an answer is, as far as its headers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page of its own; never in a frame.
    Page,
    /// The bare player, which other sites may frame.
    Embed,
    /// /client.js and what it loads: listed origins may import it.
    Shared,
    /// Anything else.
    Plain,
}

/// Adds the security headers. `user_agent` decides which word lets this engine compile WebAssembly.
pub fn secure(response: &mut HeaderMap, kind: Kind, user_agent: Option<&HeaderValue>) {
    let mut set = |name: HeaderName, value: &'static str| {
        response.insert(name, HeaderValue::from_static(value))
    };
    // Workers obey the policy of their own script's answer, so every answer has one.
    set(
        header::CONTENT_SECURITY_POLICY,
        match (is_before_chromium_97(user_agent), kind == Kind::Embed) {
            (false, false) => csp!("'wasm-unsafe-eval'", "'none'"),
            (false, true) => csp!("'wasm-unsafe-eval'", "*"),
            (true, false) => csp!("'unsafe-eval'", "'none'"),
            (true, true) => csp!("'unsafe-eval'", "*"),
        },
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        if matches!(kind, Kind::Shared | Kind::Embed) {
            "cross-origin"
        } else {
            "same-origin"
        },
    );
    if kind != Kind::Embed {
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    response.append(header::VARY, HeaderValue::from_static("User-Agent"));
}

/// Lets a listed origin read the answer.
pub fn share(response: &mut HeaderMap, origin: Option<&HeaderValue>, allowed: &[String]) {
    if allowed.is_empty() {
        return;
    }
    if allowed.iter().any(|it| it == "*") {
        response.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
        return;
    }
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| is_listed(origin, allowed)) {
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

/// Whether an Origin header's value is in the list (which is in lower case), or the list has `*`.
pub fn is_listed(origin: &HeaderValue, allowed: &[String]) -> bool {
    allowed
        .iter()
        .any(|it| it == "*" || it.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

/// Engines before Chromium 97 do not know `'wasm-unsafe-eval'` and compile WebAssembly under `'unsafe-eval'` only; televisions run them.
fn is_before_chromium_97(user_agent: Option<&HeaderValue>) -> bool {
    let version = |user_agent: &str| -> Option<u32> {
        let rest = user_agent.split("Chrome/").nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    user_agent
        .and_then(|value| value.to_str().ok())
        .and_then(version)
        .is_some_and(|version| version < 97)
}

/// No inline script and no foreign one. Links may name further servers, hence any WebSocket. Films play and worker scripts of embedders start from blobs.
macro_rules! csp {
    ($wasm:literal, $frame_ancestors:literal) => {
        concat!(
            "default-src 'none'; script-src 'self' ",
            $wasm,
            "; worker-src 'self' blob:; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; frame-src 'self'; ",
            "connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ",
            $frame_ancestors
        )
    };
}
use csp;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(user_agent: &str, kind: Kind) -> String {
        let mut headers = HeaderMap::new();
        secure(&mut headers, kind, Some(&user_agent.parse().unwrap()));
        headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn old_televisions_get_the_word_that_they_know_and_nobody_else_does() {
        let webos6 = "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.79 Safari/537.36 WebAppManager";
        assert!(policy(webos6, Kind::Page).contains("script-src 'self' 'unsafe-eval';"));
        for user_agent in [
            "Mozilla/5.0 … HeadlessChrome/156.0.0.0 Safari/537.36",
            "Mozilla/5.0 … Chrome/97.0 Safari",
            "Firefox/153.0",
            "Chrome/",
            "curl",
        ]
        .map(|it| it.replace('…', ""))
        {
            assert!(
                policy(&user_agent, Kind::Page).contains("script-src 'self' 'wasm-unsafe-eval';"),
                "{user_agent}"
            );
        }
    }

    #[test]
    fn only_the_bare_player_may_be_framed() {
        assert!(policy("x", Kind::Embed).ends_with("frame-ancestors *"));
        assert!(policy("x", Kind::Page).ends_with("frame-ancestors 'none'"));
        assert!(!policy("x", Kind::Page).contains("unsafe-inline"));
    }

    #[test]
    fn only_listed_origins_may_read_shared_answers() {
        let answer = |origin: &str, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            let allowed: Vec<String> = allowed.iter().map(|it| it.to_string()).collect();
            share(&mut headers, Some(&origin.parse().unwrap()), &allowed);
            headers
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|it| it.to_str().unwrap().to_owned())
        };
        assert_eq!(answer("https://a.example", &[]), None);
        assert_eq!(
            answer("https://a.example", &["https://a.example"]).as_deref(),
            Some("https://a.example")
        );
        assert_eq!(answer("https://b.example", &["https://a.example"]), None);
        assert_eq!(
            answer("https://a.example.evil.example", &["https://a.example"]),
            None
        );
        assert_eq!(answer("https://b.example", &["*"]).as_deref(), Some("*"));
    }
}
