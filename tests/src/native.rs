//! Native peers as processes of their own, so that a test can kill them as a power cut would.
//!
//! A peer is this very test program, run again with the command line in [`ARGUMENTS`]: each test file that starts peers has
//! an ignored test that calls [`be_a_peer`].

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

/// The environment variable that holds a peer's command line, as a JSON array.
const ARGUMENTS: &str = "BATON_TEST_ARGUMENTS";
/// The ignored test that becomes a peer.
const PEER: &str = "a_process_of_the_other_tests";

/// What the ignored test does: runs `baton` with the arguments that the starting test gave, and ends with its code.
pub fn be_a_peer() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments: Vec<String> = serde_json::from_str(&arguments).expect("the starter wrote it");
    let arguments = ["baton".to_string(), "--json".to_string()]
        .into_iter()
        .chain(arguments);
    let cli = baton_client_native::args::Cli::parse_from(arguments);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let code = match runtime.block_on(baton_client_native::command::run(cli)) {
        Ok(()) => 0,
        Err(exit) => i32::from(exit.code),
    };
    std::process::exit(code);
}

/// `baton --json ARGUMENTS…` in a folder, with its standard output piped.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", PEER, "--ignored", "--nocapture"])
        .env(
            ARGUMENTS,
            serde_json::to_string(arguments).expect("strings"),
        )
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// A peer that runs.
pub struct Peer {
    child: Child,
    events: Receiver<Value>,
    /// All that it said so far, for whoever asks why, and for what must not be in a log.
    pub log: Vec<Value>,
}

impl Peer {
    /// Starts `baton --json ARGUMENTS…` in a folder.
    pub fn start(folder: &Path, arguments: &[&str]) -> Peer {
        Peer::run(&mut command(folder, arguments))
    }

    /// Starts what [`command`] made.
    pub fn run(command: &mut Command) -> Peer {
        let mut child = command.spawn().expect("this program runs again");
        let (said, events) = channel();
        let out = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // The test harness of the child says a line or two of its own.
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && said.send(event).is_err()
                {
                    return;
                }
            }
        });
        Peer {
            child,
            events,
            log: Vec::new(),
        }
    }

    /// Waits for an event of this name.
    ///
    /// # Panics
    /// When the peer ends first, or after `patience`.
    pub fn wait(&mut self, name: &str, patience: Duration) -> Value {
        self.wait_until(patience, |event| event["event"] == name)
    }

    /// Waits for the first event that fits.
    ///
    /// # Panics
    /// When the peer ends first, or after `patience`.
    pub fn wait_until(&mut self, patience: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.log.push(event.clone());
                    if fits(&event) {
                        return event;
                    }
                }
                Err(error) => panic!("{error}; it last said {:?}", self.log.last()),
            }
        }
    }

    /// What it has said since it was last asked.
    pub fn news(&mut self) -> Vec<Value> {
        let news: Vec<Value> = self.events.try_iter().collect();
        self.log.extend(news.iter().cloned());
        news
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        let kill = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(kill.is_ok_and(|status| status.success()));
    }

    /// SIGKILL: no goodbye, nothing written out.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end and gives its exit code.
    pub fn end(&mut self) -> Option<i32> {
        self.child.wait().ok()?.code()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Bytes that no other place of the file has, and that are found again if somebody keeps them readable.
pub fn film(len: usize) -> Vec<u8> {
    let line = |n: usize| format!("plaintext of a film, line {n:09}\n").into_bytes();
    let mut bytes: Vec<u8> = (0..len / 34 + 1).flat_map(line).collect();
    bytes.truncate(len);
    bytes
}

/// The download that is not done.
pub fn half_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut paths = files.map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|e| e == "part"))
        .expect("half a file")
}

/// Writes zeros over the beginning of a file.
pub fn spoil(path: &Path, bytes: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.expect("it is there")
        .write_all(&vec![0; bytes])
        .expect("it is ours");
}

/// How long a test waits for what comes within seconds on a machine that has nothing else to do.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The link and, where it was asked for, the ticket of a publisher.
///
/// # Panics
/// When it does not say one.
pub fn link_of(publisher: &mut Peer) -> (String, String) {
    let event = publisher.wait("link", PATIENCE);
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_string();
    (text("link"), text("ticket"))
}
