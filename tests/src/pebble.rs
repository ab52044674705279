//! A real authority of certificates: Let's Encrypt's Pebble, from Debian, with a name server of its own that knows this computer under every name.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;

use crate::program::launch;
use crate::redis::{Seal, free_port};
use crate::tls::{connect, get};

/// Ends when it is dropped, its name server too.
pub struct Pebble {
    children: [Killed; 2],
    seal: Seal,
    folder: TempDir,
    names: u16,
    /// Where it asks back, as the real one does at 443.
    pub port: u16,
    directory: u16,
    management: u16,
}

impl Pebble {
    /// Gives certificates that last so long.
    ///
    /// # Panics
    /// When there is no pebble, which `cargo xtask test` installs.
    pub fn start(lasts_s: u64) -> Self {
        loop {
            if let Some(pebble) = Self::try_start(lasts_s) {
                return pebble;
            }
        }
    }

    /// `None` if a port was taken meanwhile.
    fn try_start(lasts_s: u64) -> Option<Self> {
        let seal = Seal::new();
        let folder = tempfile::tempdir().expect("a folder");
        let [port, directory, management, names] = [(); 4].map(|()| free_port());
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": seal.file("cert.pem"),
            "privateKey": seal.file("key.pem"),
            "httpPort": 1,
            "tlsPort": port,
            "certificateValidityPeriod": lasts_s,
        }});
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let children = launch_both(&file, names, [directory, management])?;
        Some(Self {
            children,
            seal,
            folder,
            names,
            port,
            directory,
            management,
        })
    }

    /// For `--acme-url`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/dir", self.directory)
    }

    /// For `--acme-ca`: who signed its own certificate, which has nothing to do with those that it gives.
    pub fn authority(&self) -> PathBuf {
        self.seal.file("ca.pem")
    }

    /// Who signs the certificates that it gives.
    pub async fn root(&self) -> RootCertStore {
        let trusted = std::fs::read(self.authority()).expect("a file");
        let trusted = baton_signal_server::tls::roots(Some(&trusted)).expect("a certificate");
        let stream = connect(self.management, "localhost", &trusted).await;
        let pem = get(stream.expect("its management"), "localhost", "/roots/0").await;
        let pem = pem.split_once("\r\n\r\n").expect("an answer").1;
        baton_signal_server::tls::roots(Some(pem.as_bytes())).expect("a certificate")
    }

    /// At the same place, with all forgotten.
    pub fn start_again(&mut self) {
        self.kill();
        let ports = [self.directory, self.management];
        let file = self.folder.path().join("pebble.json");
        self.children = launch_both(&file, self.names, ports).expect("its ports are still free");
    }

    /// As if it were not reachable any more.
    pub fn kill(&mut self) {
        self.children.iter_mut().for_each(Killed::kill);
    }
}

struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The certificates and accounts in a folder.
pub fn kept(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == kind))
        .collect()
}

/// The name server at this port, and Pebble; `None` if one of them finds its port taken.
fn launch_both(config: &Path, names: u16, ports: [u16; 2]) -> Option<[Killed; 2]> {
    let mut name_server = Command::new("pebble-challtestsrv");
    name_server
        .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
        .args(["-dns01", &format!("127.0.0.1:{names}")])
        .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
        .args(["-management", &format!("127.0.0.1:{}", free_port())]);
    let mut name_server = Killed(launch(&mut name_server, "Starting challenge servers")?);
    let mut pebble = Command::new("pebble");
    pebble
        .arg("-config")
        .arg(config)
        .args(["-dnsserver", &format!("127.0.0.1:{names}")])
        // It would wait seconds before it asks back; and it refuses one nonce of twenty, as it likes to.
        .env("PEBBLE_VA_NOSLEEP", "1");
    let mut pebble = Killed(launch(&mut pebble, "ACME directory available at")?);
    // Both say so before they listen; a name that cannot be looked up yet is a proof that failed.
    listens(&mut name_server.0, names)?;
    for port in ports {
        listens(&mut pebble.0, port)?;
    }
    Some([name_server, pebble])
}

/// Waits until it does, at this port; `None` if it ends before.
fn listens(child: &mut Child, port: u16) -> Option<()> {
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if child.try_wait().expect("a child of ours").is_some() {
            return None;
        }
        std::thread::sleep(LOOK);
    }
    Some(())
}

/// Between two looks whether a program listens: whoever asks all the time takes the processor from it.
const LOOK: Duration = Duration::from_millis(20);
