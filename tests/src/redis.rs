//! A real redis-server of a test's own, and a client that says whatever it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Killed on drop.
pub struct Redis {
    child: Child,
    folder: TempDir,
    pub port: u16,
    arguments: Vec<String>,
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
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<String> = arguments.iter().map(|it| it.to_string()).collect();
        loop {
            let port = free_port();
            if let Some(child) = launch(port, &folder, &arguments) {
                return Self {
                    child,
                    folder,
                    port,
                    arguments,
                };
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

    /// SIGKILL: nothing is written out.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Empty, at the same port.
    pub fn start_again(&mut self) {
        self.kill();
        loop {
            if let Some(child) = launch(self.port, &self.folder, &self.arguments) {
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

/// Below what a Redis Cluster's second port, 10,000 higher, can be.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has one").port();
        if port < 55_000 {
            return port;
        }
    }
}

/// `None` if the port was taken meanwhile.
fn launch(port: u16, folder: &TempDir, arguments: &[String]) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--daemonize", "no", "--port", &port.to_string()])
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|read| read > 0) {
        if line.contains("Ready to accept connections") {
            // It may go on talking.
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            return Some(child);
        }
        line.clear();
    }
    let _ = child.wait();
    None
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
