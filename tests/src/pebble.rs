//! A real authority of certificates: Let's Encrypt's Pebble, from Debian, with a name server of its own that knows this computer under every name.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustls::RootCertStore;
use tempfile::TempDir;

use crate::program::launch;
use crate::redis::{Seal, free_port};
use crate::tls::{connect, get};

/// Killed on drop, its name server too.
pub struct Pebble {
    children: [Child; 2],
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
        let children = launch_both(&file, names, [directory, management]);
        Self {
            children,
            seal,
            folder,
            names,
            port,
            directory,
            management,
        }
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
        self.children = launch_both(&self.folder.path().join("pebble.json"), self.names, ports);
    }

    /// As if it were not reachable any more.
    pub fn kill(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pebble {
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

/// The name server at this port, and Pebble.
fn launch_both(config: &Path, names: u16, ports: [u16; 2]) -> [Child; 2] {
    let mut name_server = Command::new("pebble-challtestsrv");
    name_server
        .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
        .args(["-dns01", &format!("127.0.0.1:{names}")])
        .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
        .args(["-management", &format!("127.0.0.1:{}", free_port())]);
    let mut pebble = Command::new("pebble");
    pebble
        .arg("-config")
        .arg(config)
        .args(["-dnsserver", &format!("127.0.0.1:{names}")])
        // It would wait seconds before it asks back; and it refuses one nonce of twenty, as it likes to.
        .env("PEBBLE_VA_NOSLEEP", "1");
    let mut both = [
        launch(&mut name_server, "Starting challenge servers").expect("it starts"),
        launch(&mut pebble, "ACME directory available at").expect("it starts"),
    ];
    // It says so before it listens.
    for port in ports {
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = both[1].try_wait().expect("a child of ours");
            assert!(ended.is_none(), "pebble ended");
            std::thread::yield_now();
        }
    }
    both
}
