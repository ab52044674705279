//! `--serve`: the files of a download at a local HTTP address, with Range, for players, DLNA boxes and Chromecasts.
//!
//! Only what a player says is understood: `GET` and `HEAD` with one byte range (RFC 9110 section 14), HTTP/1.1 keep-alive.

use crate::library::Library;
use crate::page;
use crate::reader::Reader;
use crate::session::Control;
use baton_content::Manifest;
use rtc::shared::ifaces::ifaces;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

/// The addresses to type into another device: the one that was bound, or with `0.0.0.0` (or `[::]`) those of every interface.
pub fn addresses(real: SocketAddr) -> Vec<SocketAddr> {
    if !real.ip().is_unspecified() {
        return vec![real];
    }
    // Without the list there is still this machine itself.
    let own = ifaces().unwrap_or_default();
    let takes = |ip: &IpAddr| ip.is_ipv4() || (real.is_ipv6() && is_routed(ip));
    let mut ips: Vec<IpAddr> = own.iter().filter_map(|it| Some(it.addr?.ip())).collect();
    ips.retain(takes);
    // What other devices reach comes first, and old ones type IPv4 more easily.
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    ips.dedup();
    if ips.is_empty() {
        ips.push(IpAddr::from([127, 0, 0, 1]));
    }
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, real.port()))
        .collect()
}

/// Not link-local (RFC 4291): that needs the name of an interface, which a URL cannot say.
fn is_routed(ip: &IpAddr) -> bool {
    !matches!(ip, IpAddr::V6(ip) if (ip.segments()[0] & 0xffc0) == 0xfe80)
}

/// Listens; returns the real address.
pub async fn listen(
    address: SocketAddr,
    library: Arc<Library>,
    control: UnboundedSender<Control>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let real = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                // No handle is free, most likely: it would fail again at once.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (library, control) = (library.clone(), control.clone());
            tokio::spawn(async move {
                // A player that hangs up in the middle is the usual case.
                let _ = connection(stream, library, control).await;
                drop(place);
            });
        }
    });
    Ok(real)
}

#[derive(Debug, Default)]
struct Request {
    head: bool,
    path: String,
    range: Option<String>,
    host: String,
    /// A browser asks, not a player.
    html: bool,
    close: bool,
}

async fn connection(
    stream: TcpStream,
    library: Arc<Library>,
    control: UnboundedSender<Control>,
) -> std::io::Result<()> {
    let local = stream.local_addr()?.ip();
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let Ok(request) = timeout(REQUEST_PATIENCE, request(&mut read)).await else {
            return Ok(());
        };
        let Some(request) = request? else {
            return empty(&mut write, "400 Bad Request", "connection: close\r\n").await;
        };
        if !is_ours(&request.host, local) {
            return empty(&mut write, "403 Forbidden", "connection: close\r\n").await;
        }
        let Some(manifest) = manifest(&library).await else {
            return Ok(());
        };
        let path = request.path.trim_start_matches('/');
        let place = manifest.entries.iter().position(|entry| entry.path == path);
        match (place, path) {
            (Some(place), _) => file(&mut write, &request, place, &library, &control).await?,
            (None, "") if request.html => {
                let page = page::index(&manifest);
                text(&mut write, &request, "text/html; charset=utf-8", &page).await?;
            }
            // A player that is given the bare address plays the first file.
            (None, "") => file(&mut write, &request, 0, &library, &control).await?,
            (None, PLAYLIST) => {
                let list = page::playlist(&manifest, &request.host);
                text(
                    &mut write,
                    &request,
                    "audio/x-mpegurl; charset=utf-8",
                    &list,
                )
                .await?;
            }
            _ => empty(&mut write, "404 Not Found", "").await?,
        }
        if request.close {
            return Ok(());
        }
    }
}

/// Waits for the manifest; `None` when the session ended first.
async fn manifest(library: &Library) -> Option<Arc<Manifest>> {
    let mut changes = library.changes();
    loop {
        changes.borrow_and_update();
        if let Some(manifest) = library.manifest() {
            return Some(manifest);
        }
        changes.changed().await.ok()?;
    }
}

/// A page of the Internet whose name leads here (DNS rebinding) says that name: on loopback, only this machine's own names are taken.
fn is_ours(host: &str, local: IpAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    !local.is_loopback() || host.is_empty() || address.is_ok() || name == "localhost"
}

async fn empty(write: &mut OwnedWriteHalf, status: &str, more: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{more}\r\n");
    write.write_all(head.as_bytes()).await
}

async fn text(
    write: &mut OwnedWriteHalf,
    request: &Request,
    mime: &str,
    body: &str,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {mime}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         {NOSNIFF}{}\r\n",
        body.len(),
        policy("default-src 'none'; style-src 'unsafe-inline'"),
    );
    write.write_all(head.as_bytes()).await?;
    if !request.head {
        write.write_all(body.as_bytes()).await?;
    }
    Ok(())
}

/// A file of the download, or the range of it that was asked for, as it comes.
async fn file(
    write: &mut OwnedWriteHalf,
    request: &Request,
    place: usize,
    library: &Arc<Library>,
    control: &UnboundedSender<Control>,
) -> std::io::Result<()> {
    let manifest = library.manifest();
    let Some(entry) = manifest.as_ref().and_then(|m| m.entries.get(place)) else {
        return empty(write, "404 Not Found", "").await;
    };
    let size = entry.size;
    let (status, range) = match request.range.as_deref().map(|text| parse_range(text, size)) {
        None | Some(Ranged::Ignored) => ("200 OK", 0..size),
        Some(Ranged::Part(range)) => ("206 Partial Content", range),
        Some(Ranged::Beyond) => {
            let range = format!("content-range: bytes */{size}\r\n");
            return empty(write, "416 Range Not Satisfiable", &range).await;
        }
    };
    let mime = type_of(entry.mime.as_deref());
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {mime}\r\naccept-ranges: bytes\r\ncontent-length: {}\r\n{NOSNIFF}{DLNA}",
        range.end - range.start,
    );
    if !is_inert(mime) {
        head += &policy("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    }
    if status.starts_with("206") {
        let (first, last) = (range.start, range.end - 1);
        head += &format!("content-range: bytes {first}-{last}/{size}\r\n");
    }
    write.write_all((head + "\r\n").as_bytes()).await?;
    if request.head {
        return Ok(());
    }
    let (library, control) = (library.clone(), control.clone());
    let mut reader = Reader::new(library, control, place, range.start, range.end);
    while let Some(bytes) = reader.next().await? {
        write.write_all(&bytes).await?;
    }
    Ok(())
}

/// The bare type that a publisher named, without what a browser might take for a second one.
fn type_of(mime: Option<&str>) -> &str {
    let bare = mime.and_then(|mime| mime.split([';', ',']).next());
    bare.map(str::trim)
        .filter(|bare| bare.contains('/'))
        .unwrap_or("application/octet-stream")
}

/// What no browser runs. Anything else might be a page of the publisher's, at an address that serves all of the download.
fn is_inert(mime: &str) -> bool {
    let mime = mime.to_ascii_lowercase();
    mime.starts_with("video/") || mime.starts_with("audio/") || mime == "application/pdf"
}

fn policy(policy: &str) -> String {
    format!("content-security-policy: {policy}\r\n")
}

/// Reads one request; `Ok(None)` for what is none, an error at the end of the connection.
async fn request(read: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Request>> {
    let mut limited = read.take(REQUEST_BYTES_MAX);
    let mut line = String::new();
    if limited.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    if !matches!(method, "GET" | "HEAD") {
        return Ok(None);
    }
    let path = target.split('?').next().unwrap_or_default();
    let mut request = Request {
        head: method == "HEAD",
        path: percent_decode(path),
        close: version == "HTTP/1.0",
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(None);
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().into()),
            "host" => request.host = value.trim().into(),
            "accept" => request.html |= value.contains("text/html"),
            "connection" => request.close |= value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ranged {
    Part(Range<u64>),
    /// Nothing of it is in the file.
    Beyond,
    /// Not of a form that we serve in parts: all of it is as good.
    Ignored,
}

fn parse_range(text: &str, size: u64) -> Ranged {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ranged::Ignored;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        _ => return Ranged::Ignored,
    };
    if range.start < range.end {
        Ranged::Part(range)
    } else {
        Ranged::Beyond
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = (*byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the playlist is, unless a file is called that.
const PLAYLIST: &str = "playlist.m3u";
/// A type is what it is said to be.
const NOSNIFF: &str = "x-content-type-options: nosniff\r\n";
/// Streamed in the foreground, seekable by bytes, as it is (DLNA guidelines, 7.4.1.3).
const DLNA: &str = "transferMode.dlna.org: Streaming\r\n\
    contentFeatures.dlna.org: DLNA.ORG_OP=01;DLNA.ORG_CI=0;DLNA.ORG_FLAGS=01700000000000000000000000000000\r\n";
/// Connections at once: a player opens a handful.
const CONNECTIONS_MAX: usize = 64;
/// How long to wait after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one request's head.
const REQUEST_BYTES_MAX: u64 = 16 * 1024;
/// How long a connection may say nothing between requests.
const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_rfc_9110_writes_it() {
        assert_eq!(parse_range("bytes=0-9", 100), Ranged::Part(0..10));
        assert_eq!(parse_range("bytes=90-", 100), Ranged::Part(90..100));
        assert_eq!(parse_range("bytes=90-500", 100), Ranged::Part(90..100));
        assert_eq!(parse_range("bytes=-10", 100), Ranged::Part(90..100));
        assert_eq!(parse_range("bytes=-500", 100), Ranged::Part(0..100));
        assert_eq!(parse_range("bytes=100-", 100), Ranged::Beyond);
        assert_eq!(parse_range("bytes=-0", 100), Ranged::Beyond);
        for odd in [
            "bytes=9-0",
            "bytes=a-b",
            "lines=0-1",
            "bytes=0-1,5-6",
            "bytes=",
        ] {
            assert_eq!(parse_range(odd, 100), Ranged::Ignored, "{odd}");
        }
    }

    #[test]
    fn a_name_of_the_internet_that_leads_to_loopback_is_refused() {
        let here = IpAddr::from([127, 0, 0, 1]);
        for host in ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", ""] {
            assert!(is_ours(host, here), "{host}");
        }
        assert!(!is_ours("evil.example:9000", here));
        assert!(!is_ours("evil.example", here));
        let lan = IpAddr::from([192, 168, 1, 5]);
        assert!(is_ours("nas.local:9000", lan), "a LAN has names of its own");
    }

    #[test]
    fn only_what_no_browser_runs_goes_without_a_policy() {
        let served = |mime| (type_of(Some(mime)), is_inert(type_of(Some(mime))));
        assert_eq!(
            served("video/mp4; codecs=\"avc1, mp4a\""),
            ("video/mp4", true)
        );
        assert_eq!(served("video/mp4,text/html"), ("video/mp4", true));
        assert_eq!(served("TEXT/HTML"), ("TEXT/HTML", false));
        assert_eq!(served("image/svg+xml"), ("image/svg+xml", false));
        assert_eq!(served("nonsense"), ("application/octet-stream", false));
        assert_eq!(type_of(None), "application/octet-stream");
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(percent_decode("/a%20b%2525%zz%"), "/a b%25%zz%");
    }
}
