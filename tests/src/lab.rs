//! A small internet of network namespaces: a server with STUN and TURN in the middle, and peers behind routers that translate addresses.
//!
//! It needs root, iproute2, nftables, coturn and redis-server. Everything is removed when it is dropped; nothing outside is touched.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use baton_signal_server::{Config, Server};
use clap::Parser;

use crate::native::{self, Peer};
use crate::program::launch;

/// How a peer's router translates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One address and port for whatever a socket sends: STUN finds it.
    Plain,
    /// Another port for each destination: STUN finds one that is good for nothing.
    Symmetric,
    /// Nothing but TCP gets out: a firewall that lets only the web through.
    NoUdp,
}

/// The namespaces of one test.
pub struct Lab {
    name: String,
    /// How many there are beside the middle; the number is in their addresses.
    networks: u8,
    /// In the middle: coturn, Redis.
    programs: Vec<Child>,
}

/// Where server and coturn are (RFC 5737: for documentation).
const MIDDLE: &str = "198.51.100.1";

impl Lab {
    /// The middle alone.
    ///
    /// # Panics
    /// Where there are no namespaces, or the programs are not installed.
    pub fn new(test: &str) -> Lab {
        let lab = Lab {
            name: format!("baton-{test}-{}", std::process::id()),
            networks: 0,
            programs: Vec::new(),
        };
        let middle = lab.middle();
        run(&["ip", "netns", "add", &middle]);
        lab.inside(&middle, "ip link set lo up");
        lab.inside(&middle, "ip link add wan type bridge");
        lab.inside(&middle, &format!("ip address add {MIDDLE}/24 dev wan"));
        lab.inside(&middle, "ip link set wan up");
        // What is sent to somebody's private address gets lost out there, without an error.
        lab.inside(
            &middle,
            "ip neighbour add 198.51.100.254 lladdr 02:00:00:00:00:01 dev wan",
        );
        lab.inside(&middle, "ip route add default via 198.51.100.254");
        lab
    }

    fn middle(&self) -> String {
        self.name.clone()
    }

    fn inside(&self, space: &str, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        run(&[&["ip", "netns", "exec", space], &words[..]].concat());
    }

    /// A signalling server that names these STUN and TURN servers; its origin.
    pub fn server(&self, ice: &[&str]) -> String {
        let flags: Vec<&str> = ice.iter().flat_map(|url| ["--ice", url]).collect();
        self.server_with(&flags)
    }

    /// A signalling server that is STUN and TURN server itself, on the usual port; its origin.
    pub fn server_that_relays(&self) -> String {
        let turn = format!("{MIDDLE}:3478");
        // This lab's open internet is a range that the real one has for documentation only.
        self.server_with(&[
            "--turn-listen",
            &turn,
            "--turn-allow-peer",
            "198.51.100.0/24",
        ])
    }

    fn server_with(&self, flags: &[&str]) -> String {
        let listen = format!("{MIDDLE}:0");
        let mut words = vec!["baton-server", "--listen", &listen, "--turn-secret", SECRET];
        words.extend(flags);
        let config = Config::parse_from(words);
        let (said, address) = std::sync::mpsc::channel::<SocketAddr>();
        let space = format!("/run/netns/{}", self.middle());
        std::thread::spawn(move || {
            let space = std::fs::File::open(space).expect("it was just made");
            // SAFETY: the descriptor is open; this thread alone changes its network, before it has any socket.
            let entered = unsafe { libc::setns(space.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            // On this thread only, so that every socket is made here.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let server = Server::bind(config).await.expect("a free port").start();
                let _ = said.send(server.address());
                std::future::pending::<()>().await;
            });
        });
        format!("http://{}", address.recv().expect("it listens"))
    }

    /// A signalling server that carries what peers say who cannot connect; its origin.
    pub fn server_that_carries(&self) -> String {
        self.server_with(&["--relay"])
    }

    /// Two of them that are one by a Redis between them; their origins.
    pub fn two_servers_that_carry(&mut self) -> [String; 2] {
        let mut redis = Command::new("ip");
        redis
            .args(["netns", "exec", &self.middle(), "redis-server"])
            .args(["--bind", "127.0.0.1", "--port", "6379"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(std::env::temp_dir());
        self.start(redis, "Ready to accept connections");
        let flags = ["--relay", "--cluster", "redis://127.0.0.1:6379"];
        [self.server_with(&flags), self.server_with(&flags)]
    }

    /// STUN and TURN in the middle, on the usual port, with [`SECRET`].
    pub fn coturn(&mut self) {
        let mut coturn = Command::new("ip");
        coturn
            .args(["netns", "exec", &self.middle(), "turnserver", "-n"])
            .args(["-L", MIDDLE, "-p", "3478", "--realm", "lab"])
            .args(["--use-auth-secret", "--static-auth-secret", SECRET])
            .args([
                "--no-cli",
                "--no-tls",
                "--no-dtls",
                "--no-software-attribute",
            ])
            .args(["--pidfile", "/dev/null", "--log-file", "stdout", "-v"]);
        self.start(coturn, "UDP listener opened");
    }

    /// Starts a program that ends with the lab, and waits until it says that it is ready.
    fn start(&mut self, mut command: Command, ready: &str) {
        let program = launch(&mut command, ready);
        let program = program.unwrap_or_else(|| panic!("{command:?} ended"));
        self.programs.push(program);
    }

    /// A network behind a router of this kind; where its peer runs.
    pub fn network(&mut self, nat: Nat) -> Network {
        self.networks += 1;
        let n = self.networks;
        let (router, home) = (format!("{}-r{n}", self.name), format!("{}-h{n}", self.name));
        for space in [&router, &home] {
            run(&["ip", "netns", "add", space]);
            self.inside(space, "ip link set lo up");
        }
        // Outside: a port of the middle's bridge.
        let (middle, port) = (self.middle(), format!("port{n}"));
        self.inside(
            &middle,
            &format!("ip link add {port} type veth peer name out netns {router}"),
        );
        self.inside(&middle, &format!("ip link set {port} master wan up"));
        let outside = format!("198.51.100.{}", 10 * u16::from(n));
        self.inside(&router, &format!("ip address add {outside}/24 dev out"));
        self.inside(&router, "ip link set out up");
        // Inside: one cable to the peer.
        self.inside(
            &router,
            &format!("ip link add in type veth peer name lan netns {home}"),
        );
        self.inside(&router, &format!("ip address add 10.{n}.0.1/24 dev in"));
        self.inside(&router, "ip link set in up");
        self.inside(&home, &format!("ip address add 10.{n}.0.2/24 dev lan"));
        self.inside(&home, "ip link set lan up");
        self.inside(&home, &format!("ip route add default via 10.{n}.0.1"));
        self.inside(&router, "sysctl -qw net.ipv4.ip_forward=1");
        let how = match nat {
            Nat::Plain | Nat::NoUdp => "masquerade",
            Nat::Symmetric => "masquerade random,fully-random",
        };
        self.inside(&router, "nft add table ip nat");
        self.inside(
            &router,
            "nft add chain ip nat post { type nat hook postrouting priority 100 ; }",
        );
        self.inside(
            &router,
            "nft add chain ip nat pre { type nat hook prerouting priority -100 ; }",
        );
        // As routers do: what comes in unasked must not take the port that the answer to it would leave by.
        self.inside(
            &router,
            "nft add chain ip nat in { type filter hook input priority 0 ; }",
        );
        self.inside(&router, "nft add rule ip nat in iif out drop");
        self.inside(&router, &format!("nft add rule ip nat post oif out {how}"));
        if nat == Nat::NoUdp {
            self.inside(
                &router,
                "nft add chain ip nat through { type filter hook forward priority 0 ; }",
            );
            self.inside(
                &router,
                "nft add rule ip nat through ip protocol != tcp drop",
            );
        }
        Network {
            router,
            home,
            outside,
            inside: format!("10.{n}.0.2"),
        }
    }

    /// The router passes these UDP ports on, as `docker run -p` does.
    pub fn forward(&self, network: &Network, ports: &str) {
        let rule = format!(
            "nft add rule ip nat pre iif out udp dport {ports} dnat to {}",
            network.inside
        );
        self.inside(&network.router, &rule);
    }
}

/// A peer's network.
pub struct Network {
    router: String,
    home: String,
    /// The router's address.
    pub outside: String,
    inside: String,
}

impl Network {
    /// Starts `baton --json ARGUMENTS…` there.
    pub fn peer(&self, folder: &Path, arguments: &[&str]) -> Peer {
        let here = native::command(folder, arguments);
        let mut there = Command::new("ip");
        there
            .args(["netns", "exec", &self.home])
            .arg(here.get_program())
            .args(here.get_args())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (name, value) in here.get_envs() {
            there.env(name, value.unwrap_or_default());
        }
        Peer::run(&mut there)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        for n in 1..=self.networks {
            for end in ["r", "h"] {
                let space = format!("{}-{end}{n}", self.name);
                let _ = Command::new("ip").args(["netns", "del", &space]).status();
            }
        }
        let middle = self.middle();
        let _ = Command::new("ip").args(["netns", "del", &middle]).status();
    }
}

/// # Panics
/// When it fails.
fn run(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status();
    let fine = status.as_ref().is_ok_and(|status| status.success());
    assert!(fine, "{words:?}: {status:?} (root, iproute2, nftables?)");
}

/// What coturn and the server make credentials with.
const SECRET: &str = "of this lab";
/// For `--ice`.
pub const STUN: &str = "stun:198.51.100.1:3478";
/// For `--ice`; with [`SECRET`].
pub const TURN: &str = "turn:198.51.100.1:3478";
