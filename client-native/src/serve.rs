//! `--serve`: the files of a download at a local HTTP address, with Range, for players, DLNA boxes and Chromecasts.
//!
//! Only what a player says is understood: `GET` and `HEAD` with one byte range (RFC 9110 section 14), HTTP/1.1 keep-alive.

use crate::library::Library;
use crate::reader::Reader;
use crate::session::Control;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

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

struct Request {
    head: bool,
    path: String,
    range: Option<String>,
    close: bool,
}

async fn connection(
    stream: TcpStream,
    library: Arc<Library>,
    control: UnboundedSender<Control>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let Ok(request) = timeout(REQUEST_PATIENCE, request(&mut read)).await else {
            return Ok(());
        };
        let Some(request) = request? else {
            return write
                .write_all(
                    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                )
                .await;
        };
        let mut changes = library.changes();
        let manifest = loop {
            changes.borrow_and_update();
            if let Some(manifest) = library.manifest() {
                break manifest;
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        };
        let found = match request.path.trim_start_matches('/') {
            "" => Some(0),
            path => manifest.entries.iter().position(|entry| entry.path == path),
        };
        let Some((place, entry)) =
            found.and_then(|place| Some((place, manifest.entries.get(place)?)))
        else {
            write
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                .await?;
            continue;
        };
        let size = entry.size;
        let (status, range) = match request.range.as_deref().map(|text| parse_range(text, size)) {
            None | Some(Ranged::Ignored) => ("200 OK", 0..size),
            Some(Ranged::Part(range)) => ("206 Partial Content", range),
            Some(Ranged::Beyond) => {
                let text = format!(
                    "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */{size}\r\ncontent-length: 0\r\n\r\n"
                );
                write.write_all(text.as_bytes()).await?;
                continue;
            }
        };
        let mut head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {}\r\naccept-ranges: bytes\r\ncontent-length: {}\r\n\
             transferMode.dlna.org: Streaming\r\n",
            entry.mime.as_deref().unwrap_or("application/octet-stream"),
            range.end - range.start,
        );
        if status.starts_with("206") {
            head += &format!(
                "content-range: bytes {}-{}/{size}\r\n",
                range.start,
                range.end - 1
            );
        }
        head += "\r\n";
        write.write_all(head.as_bytes()).await?;
        if !request.head {
            let mut reader = Reader::new(
                library.clone(),
                control.clone(),
                place,
                range.start,
                range.end,
            );
            while let Some(bytes) = reader.next().await? {
                write.write_all(&bytes).await?;
            }
        }
        if request.close {
            return Ok(());
        }
    }
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
        range: None,
        close: version == "HTTP/1.0",
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
    fn a_path_is_decoded_once() {
        assert_eq!(percent_decode("/a%20b%2525%zz%"), "/a b%25%zz%");
    }
}
