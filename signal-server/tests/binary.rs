//! `baton-server` as an operator meets it: a process with flags, a first line, and signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> (Self, String) {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("listening on http")
            .and_then(|rest| rest.trim_start_matches('s').strip_prefix("://"))
            .unwrap_or_else(|| panic!("{line:?}"))
            .trim()
            .to_owned();
        (Self(child), address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn baton_server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton-server"));
    command.env_remove("BATON_LISTEN");
    command
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_first_line_names_the_real_port() {
    let (_server, address) = Process::start(baton_server().args(["--listen", "127.0.0.1:0"]));
    assert!(!address.ends_with(":0"));
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_health_check_tells_a_server_from_none() {
    let (server, address) = Process::start(baton_server().args(["--listen", "127.0.0.1:0"]));
    let check = || {
        baton_server()
            .args(["--check-health", "--listen", &address])
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(check(), Some(0));
    drop(server);
    assert_eq!(check(), Some(1));
}

#[test]
fn a_health_check_speaks_tls_where_the_server_does() {
    let folder = std::env::temp_dir().join(format!("baton-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["baton.example".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let with_tls = |address: &str| {
        let mut command = baton_server();
        command
            .env("BATON_TLS_CERT", &cert)
            .env("BATON_TLS_KEY", &key);
        command.args(["--listen", address]);
        command
    };
    let (_server, address) = Process::start(&mut with_tls("127.0.0.1:0"));
    let is_well = |command: &mut Command| {
        let checked = command.arg("--check-health").output().unwrap();
        checked.status.success()
    };
    assert!(is_well(&mut with_tls(&address)));
    assert!(
        !is_well(baton_server().args(["--listen", &address])),
        "it speaks nothing else"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn flags_are_variables_too() {
    let (_server, address) = Process::start(
        baton_server()
            .env("BATON_LISTEN", "127.0.0.1:0")
            .env("BATON_METRICS_LISTEN", "127.0.0.1:0"),
    );
    assert!(
        !get(&address, "/metrics").contains("baton_peers"),
        "metrics have an address of their own"
    );
}

#[test]
fn a_variable_counts_before_the_file_and_a_flag_before_the_variable() {
    let file = std::env::temp_dir().join(format!("baton-binary-{}.toml", std::process::id()));
    std::fs::write(&file, "grace = 1\nkeepalive = 1\nlinger = 1\n").unwrap();
    let printed = baton_server()
        .env("BATON_KEEPALIVE", "2")
        .env("BATON_LINGER", "2")
        .args(["--linger", "3", "--print-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    for line in [
        "grace = 1",
        "keepalive = 2",
        "linger = 3",
        "# listen = \"127.0.0.1:8080\"",
    ] {
        assert!(printed.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn a_bad_value_is_refused_with_the_name_of_its_option() {
    let refused = baton_server()
        .args(["--messages-burst", "many"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--messages-burst"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = baton_server()
        .args(["--listen", &taken.local_addr().unwrap().to_string()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--listen"));
}

#[cfg(unix)]
#[test]
fn a_file_of_the_web_app_that_cannot_be_read_is_named_with_its_option() {
    let web = std::env::temp_dir().join(format!("baton-web-{}", std::process::id()));
    std::fs::create_dir_all(&web).unwrap();
    std::os::unix::fs::symlink("/nowhere", web.join("lost.js")).unwrap();
    let mut command = baton_server();
    let command = command.args(["--listen", "127.0.0.1:0", "--web"]).arg(&web);
    let refused = command.output().unwrap();
    std::fs::remove_dir_all(&web).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--web") && said.contains("lost.js"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn it_asks_for_as_many_open_files_as_its_limits_need() {
    let mut shell = Command::new("sh");
    let words = [
        "-c",
        "ulimit -Sn 200; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_baton-server"),
    ];
    let limits = ["--connections-max", "300", "--http-connections-max", "100"];
    shell
        .args(words)
        .args(["--listen", "127.0.0.1:0"])
        .args(limits);
    let (server, _) = Process::start(&mut shell);
    let file = format!("/proc/{}/limits", server.0.id());
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let soft: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert!(soft >= 400, "{soft}");
}

#[cfg(unix)]
#[test]
fn it_stops_in_peace_when_told_to() {
    for signal in ["-TERM", "-INT"] {
        let (mut server, _) = Process::start(baton_server().args(["--listen", "127.0.0.1:0"]));
        assert!(
            Command::new("kill")
                .args([signal, &server.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(server.0.wait().unwrap().code(), Some(0), "{signal}");
    }
}
