//! A real redis-server of a test's own, and a client that says whatever it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::program::launch;

/// Killed on drop.
pub struct Redis {
    child: Child,
    folder: TempDir,
    pub port: u16,
    sealed_port: Option<u16>,
    arguments: Vec<String>,
}

/// An authority, and a certificate of its for this computer, in files.
pub struct Seal(TempDir);

impl Seal {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = || KeyPair::generate().expect("randomness");
        let params = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            CertificateParams::new(names).expect("names")
        };
        let (ca_key, own_key) = (key(), key());
        let mut ca = params(&[]);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_file = ca.self_signed(&ca_key).expect("a certificate").pem();
        let issuer = Issuer::new(ca, ca_key);
        let own = params(&["127.0.0.1", "localhost"]).signed_by(&own_key, &issuer);
        let files = [
            ("ca.pem", ca_file),
            ("cert.pem", own.expect("a certificate").pem()),
            ("key.pem", own_key.serialize_pem()),
        ];
        for (name, pem) in files {
            std::fs::write(folder.path().join(name), pem).expect("a file");
        }
        Self(folder)
    }

    /// `ca.pem`, `cert.pem` or `key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arguments<'a>(&self, port: &'a str) -> Vec<&'a str> {
        let text = |name| &*self.file(name).display().to_string().leak();
        let (ca, cert, key) = (text("ca.pem"), text("cert.pem"), text("key.pem"));
        let files = [
            ["--tls-ca-cert-file", ca],
            ["--tls-cert-file", cert],
            ["--tls-key-file", key],
        ];
        let words = [["--tls-port", port], ["--tls-auth-clients", "no"]];
        [words.as_flattened(), files.as_flattened()].concat()
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self::new()
    }
}

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Text(Vec<u8>),
    Number(i64),
    Error(String),
    List(Vec<Answer>),
    Nothing,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// # Panics
    /// When there is no redis-server, which `cargo xtask test` installs.
    pub fn start_with(arguments: &[&str]) -> Self {
        loop {
            if let Some(redis) = Self::try_with(arguments) {
                return redis;
            }
        }
    }

    fn try_with(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<String> = arguments.iter().map(|it| it.to_string()).collect();
        let port = free_port();
        let child = start_at(port, &folder, &arguments)?;
        Some(Self {
            child,
            folder,
            port,
            sealed_port: None,
            arguments,
        })
    }

    /// One that speaks TLS at a port of its own.
    pub fn sealed(seal: &Seal) -> Self {
        loop {
            let port = free_port();
            if let Some(mut redis) = Self::try_with(&seal.arguments(&port.to_string())) {
                redis.sealed_port = Some(port);
                return redis;
            }
        }
    }

    /// Three masters of one Redis Cluster.
    pub fn three_shards() -> [Self; 3] {
        let shards = [(); 3].map(|()| Self::start_with(&["--cluster-enabled", "yes"]));
        let bounds = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (shard, (first, last)) in shards.iter().zip(bounds) {
            shard.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            let port = shards[0].port.to_string();
            shard.ask(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        let is_whole = |shard: &Self| match shard.ask(&["CLUSTER", "INFO"]) {
            Answer::Text(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                text.contains("cluster_state:ok") && text.contains("cluster_size:3")
            }
            _ => false,
        };
        while !shards.iter().all(is_whole) {}
        shards
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The way in over TLS, of one that has it.
    pub fn sealed_url(&self) -> String {
        let port = self.sealed_port.expect("it was started so");
        format!("rediss://127.0.0.1:{port}")
    }

    /// SIGKILL: nothing is written out.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Empty, at the same port.
    pub fn start_again(&mut self) {
        self.kill();
        loop {
            if let Some(child) = start_at(self.port, &self.folder, &self.arguments) {
                self.child = child;
                return;
            }
        }
    }

    /// One command on a connection of its own.
    pub fn ask<T: AsRef<[u8]>>(&self, words: &[T]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("Redis listens");
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            command.extend(format!("${}\r\n", word.len()).bytes());
            command.extend(word);
            command.extend(b"\r\n");
        }
        stream.write_all(&command).expect("Redis reads");
        read(&mut BufReader::new(stream))
    }

    /// The names of all keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        match self.ask(&["KEYS", "*"]) {
            Answer::List(keys) => keys
                .into_iter()
                .filter_map(|key| match key {
                    Answer::Text(name) => Some(name),
                    _ => None,
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Another way to a Redis, and how often somebody took it.
pub async fn counted_way(url: &str) -> (String, tokio::sync::watch::Receiver<u32>) {
    let (scheme, address) = url.split_once("://").expect("an address");
    let address = address.to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    let (count, counted) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            count.send_modify(|it| *it += 1);
            let address = address.clone();
            tokio::spawn(async move {
                let mut to = tokio::net::TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    (format!("{scheme}://127.0.0.1:{port}"), counted)
}

/// Below what a Redis Cluster's second port, 10,000 higher, can be.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has one").port();
        if port < 55_000 {
            return port;
        }
    }
}

/// `None` if a port was taken meanwhile.
fn start_at(port: u16, folder: &TempDir, arguments: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--daemonize", "no", "--port", &port.to_string()])
        .args(arguments)
        .current_dir(folder.path());
    launch(&mut command, "Ready to accept connections")
}

fn read(from: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    from.read_line(&mut line).expect("Redis answers");
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().expect("a number");
    match kind {
        "+" => Answer::Text(rest.into()),
        "-" => Answer::Error(rest.into()),
        ":" => Answer::Number(number()),
        "*" => Answer::List((0..number()).map(|_| read(from)).collect()),
        _ if number() < 0 => Answer::Nothing,
        _ => {
            let mut text = vec![0; number() as usize + 2];
            from.read_exact(&mut text).expect("Redis answers whole");
            text.truncate(text.len() - 2);
            Answer::Text(text)
        }
    }
}
