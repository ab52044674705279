//! The web app: built in, or from a directory. All of it is in memory, with what each file needs to be answered at once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use anyhow::Context;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use rust_embed::RustEmbed;

/// `web/dist` as it was when this was compiled; in debug builds without `rust-embed/debug-embed`, as it is when the server starts. May be missing.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct BuiltIn;

/// Every file by its path without the leading slash.
pub struct Assets(HashMap<String, File>);

pub struct File {
    plain: Variant,
    /// Made by the build beside the file as NAME.br and NAME.gz.
    brotli: Option<Variant>,
    gzip: Option<Variant>,
    content_type: &'static str,
    cache: &'static str,
}

struct Variant {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Assets {
    pub fn built_in() -> Self {
        Self::from_files(BuiltIn::iter().filter_map(|name| {
            let bytes = match BuiltIn::get(&name)?.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            Some((name.into_owned(), bytes))
        }))
    }

    pub fn from_directory(directory: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        let mut pending = vec![directory.to_owned()];
        while let Some(folder) = pending.pop() {
            let entries = std::fs::read_dir(&folder);
            for entry in
                entries.with_context(|| format!("--web: cannot read {}", folder.display()))?
            {
                let cannot_read = |path: &Path| format!("--web: cannot read {}", path.display());
                let path = entry.with_context(|| cannot_read(&folder))?.path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let name = path
                        .strip_prefix(directory)?
                        .to_string_lossy()
                        .replace('\\', "/");
                    let bytes = std::fs::read(&path).with_context(|| cannot_read(&path))?;
                    files.push((name, Bytes::from(bytes)));
                }
            }
        }
        Ok(Self::from_files(files.into_iter()))
    }

    fn from_files(files: impl Iterator<Item = (String, Bytes)>) -> Self {
        let mut raw: HashMap<String, Bytes> = files.collect();
        let names: Vec<String> = raw
            .keys()
            .filter(|name| !is_variant(name))
            .cloned()
            .collect();
        let files = names.into_iter().map(|name| {
            let brotli = raw.remove(&format!("{name}.br")).map(Variant::new);
            let gzip = raw.remove(&format!("{name}.gz")).map(Variant::new);
            let plain = Variant::new(raw.remove(&name).expect("its name came from here"));
            let file = File {
                plain,
                brotli,
                gzip,
                content_type: content_type(&name),
                cache: cache(&name),
            };
            (name, file)
        });
        Self(files.collect())
    }

    /// Names the picture of link previews by its whole address, as the Open Graph protocol has it.
    /// The compressed variants of such a page are the old ones; it is small.
    pub fn at_host(mut self, host: &str) -> Self {
        let whole = format!("content=\"https://{host}{CARD}\"");
        for file in self.0.values_mut().filter(|file| file.is_page()) {
            let text = String::from_utf8_lossy(&file.plain.bytes);
            let named = text.replace(&format!("content=\"{CARD}\""), &whole);
            if named != text {
                file.plain = Variant::new(Bytes::from(named));
                (file.brotli, file.gzip) = (None, None);
            }
        }
        self
    }

    pub fn get(&self, name: &str) -> Option<&File> {
        self.0.get(name)
    }
}

impl File {
    fn is_page(&self) -> bool {
        self.content_type.starts_with("text/html")
    }

    /// The answer to a GET or HEAD, compressed as the client accepts it; 304 if it has this very version.
    pub fn respond(&self, request: &HeaderMap) -> Response<Body> {
        let (variant, encoding) = match (&self.brotli, &self.gzip) {
            (Some(brotli), _) if accepts(request, "br") => (brotli, Some("br")),
            (_, Some(gzip)) if accepts(request, "gzip") => (gzip, Some("gzip")),
            _ => (&self.plain, None),
        };
        let is_known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|tags| names(tags, &variant.etag));
        let mut response = Response::new(if is_known {
            Body::empty()
        } else {
            Body::from(variant.bytes.clone())
        });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, variant.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type),
        );
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

impl Variant {
    fn new(bytes: Bytes) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let etag = format!("\"{:016x}-{:x}\"", hasher.finish(), bytes.len());
        Self {
            bytes,
            etag: HeaderValue::from_str(&etag).expect("hex digits"),
        }
    }
}

/// The picture of link previews.
const CARD: &str = "/card.png";

fn is_variant(name: &str) -> bool {
    name.ends_with(".br") || name.ends_with(".gz")
}

/// RFC 9110 §12.5.3, as far as it can say yes or no.
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let mut parameters = part.split(';').map(str::trim);
            parameters
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(coding))
                && !parameters.any(|parameter| {
                    parameter
                        .strip_prefix("q=")
                        .and_then(|q| q.parse::<f32>().ok())
                        == Some(0.0)
                })
        })
}

/// RFC 9110 §13.1.2: a weak comparison.
fn names(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    tags.to_str().is_ok_and(|tags| {
        tags.split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/").as_bytes() == etag.as_bytes())
    })
}

/// What Vite names by content never changes; everything else is asked for each time, which its ETag makes cheap.
fn cache(name: &str) -> &'static str {
    if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets() -> Assets {
        let file =
            |name: &str, text: &'static str| (name.to_owned(), Bytes::from_static(text.as_bytes()));
        Assets::from_files(
            [
                file("a.js", "plain"),
                file("a.js.br", "brotli"),
                file("a.js.gz", "gzip"),
                file("assets/x.wasm", "wasm"),
            ]
            .into_iter(),
        )
    }

    fn answer(name: &str, request: &[(header::HeaderName, &str)]) -> Response<Body> {
        let headers = request
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        assets().get(name).unwrap().respond(&headers)
    }

    #[test]
    fn the_best_encoding_that_is_accepted_is_served() {
        let encoding = |accepted: &str| {
            let response = answer("a.js", &[(header::ACCEPT_ENCODING, accepted)]);
            response
                .headers()
                .get(header::CONTENT_ENCODING)
                .map(|it| it.to_str().unwrap().to_owned())
        };
        assert_eq!(encoding("gzip, deflate, br, zstd").as_deref(), Some("br"));
        assert_eq!(encoding("gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding("br;q=0, gzip;q=0.5").as_deref(), Some("gzip"));
        assert_eq!(encoding("identity"), None);
        assert!(
            assets().get("a.js.br").is_none(),
            "variants are no files of their own"
        );
    }

    #[test]
    fn a_page_names_its_preview_picture_by_its_whole_address_where_the_host_is_known() {
        let page = || {
            let plain = r#"<meta property="og:image" content="/card.png" /><img src="/card.png">"#;
            let file = |name: &str, text| (name.to_owned(), Bytes::from_static(text));
            let files = [
                file("index.html", plain.as_bytes()),
                file("index.html.br", b"old".as_slice()),
            ];
            Assets::from_files(files.into_iter())
        };
        let text = |assets: &Assets| {
            let file = assets.get("index.html").unwrap();
            String::from_utf8(file.plain.bytes.to_vec()).unwrap()
        };
        assert!(text(&page()).contains(r#"content="/card.png""#));
        let named = page().at_host("baton.example");
        assert_eq!(
            text(&named),
            r#"<meta property="og:image" content="https://baton.example/card.png" /><img src="/card.png">"#
        );
        assert!(named.get("index.html").unwrap().brotli.is_none());
    }

    #[test]
    fn hashed_names_are_kept_for_ever_and_others_are_asked_for() {
        assert_eq!(
            answer("assets/x.wasm", &[]).headers()[header::CACHE_CONTROL],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(
            answer("assets/x.wasm", &[]).headers()[header::CONTENT_TYPE],
            "application/wasm"
        );
        let first = answer("a.js", &[]);
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
        let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(
            answer("a.js", &[(header::IF_NONE_MATCH, &etag)]).status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            answer(
                "a.js",
                &[(header::IF_NONE_MATCH, &format!("\"x\", W/{etag}"))]
            )
            .status(),
            StatusCode::NOT_MODIFIED
        );
        let other_encoding = [
            (header::IF_NONE_MATCH, etag.as_str()),
            (header::ACCEPT_ENCODING, "br"),
        ];
        assert_eq!(answer("a.js", &other_encoding).status(), StatusCode::OK);
    }
}
