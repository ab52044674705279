//! What every row begins with: a signalling server of its own, and a film to share.

use anyhow::{Result, anyhow};
use baton_client_native::Source;
use baton_client_native::peer::{self, Destination, Net, Published};
use baton_client_native::session::Handle;
use baton_signal_server::{Config, Running, Server};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// A server on loopback and a folder; both go with it.
pub struct Stage {
    _server: Running,
    pub net: Net,
    pub folder: TempDir,
}

impl Stage {
    pub async fn new() -> Result<Stage> {
        let server = Server::bind(Config::local()).await?.start();
        let net = Net {
            servers: vec![format!("http://{}", server.address())],
            ..Net::default()
        };
        Ok(Stage {
            _server: server,
            net,
            folder: tempfile::tempdir()?,
        })
    }

    /// Shares so many bytes of which no two places are alike.
    pub fn publish(&self, bytes: u64) -> Result<Published> {
        write_film(&self.folder.path().join(FILM), bytes)?;
        self.share()
    }

    /// Shares so many zeros, which take no disk.
    pub fn publish_zeros(&self, bytes: u64) -> Result<Published> {
        File::create(self.folder.path().join(FILM))?.set_len(bytes)?;
        self.share()
    }

    fn share(&self) -> Result<Published> {
        let source = Source {
            name: FILM.into(),
            path: self.folder.path().join(FILM),
        };
        peer::publish(&[source], None, None, 0, &self.net).map_err(|exit| anyhow!("{exit}"))
    }

    /// One viewer more, whose copy is in the folder.
    pub fn viewer(&self, url: &str, number: usize, net: &Net) -> Result<Handle> {
        let copy = self.folder.path().join(format!("copy-{number}.bin"));
        fetch(url, Destination::At(copy), net)
    }
}

pub fn fetch(url: &str, to: Destination, net: &Net) -> Result<Handle> {
    let (session, _library) = peer::fetch(url, to, net).map_err(|exit| anyhow!("{exit}"))?;
    Ok(session)
}

/// Bytes that do not compress and that no two places share.
pub fn write_film(path: &Path, bytes: u64) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..bytes / 8 {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

const FILM: &str = "film.bin";
