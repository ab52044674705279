//! Programs that tests start.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Starts a program and waits until it says that it is there, on its standard output. `None` if it ended before.
///
/// # Panics
/// When there is no such program: `cargo xtask test` and `cargo xtask soak` install what they need.
pub fn launch(command: &mut Command, ready: &str) -> Option<Child> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|read| read > 0) {
        if line.contains(ready) {
            // It must not wait for somebody to read what it says.
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            return Some(child);
        }
        line.clear();
    }
    let _ = child.wait();
    None
}
