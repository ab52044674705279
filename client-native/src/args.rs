//! The command line.

use crate::exit;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Passes streams on: shares files by a link, fetches links, keeps streams alive. No server ever holds or can read them.
#[derive(Debug, Parser)]
#[command(
    name = "baton",
    version,
    after_help = exit::HELP
)]
pub struct Cli {
    /// One JSON object per line instead of words and bars.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line. What is wrong with it (or was asked for: help, the version) is printed, for machines as they are told everything
    /// else; the code to end with.
    pub fn read(arguments: &[OsString]) -> Result<Cli, u8> {
        Cli::try_parse_from(arguments).map_err(|error| {
            let wants_json = arguments.iter().any(|argument| argument == "--json");
            // Whoever closed the pipe wants none.
            if wants_json && error.use_stderr() {
                let _ = writeln!(std::io::stdout(), "{}", refusal(&error));
            } else {
                let _ = error.print();
            }
            u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)
        })
    }
}

/// What clap says, on the line that machines wait for.
fn refusal(error: &clap::Error) -> serde_json::Value {
    let text = error.to_string();
    let reason = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
    serde_json::json!({"event": "error", "code": exit::USAGE, "reason": reason})
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share files or folders; prints the link at once.
    Seed(Seed),
    /// Fetch what a link names, verified and resumable.
    Get(Get),
    /// Keep streams alive from their tickets, without being able to read them.
    Keep(Keep),
    /// What is behind a link, who has it, and who is near.
    Info(Info),
}

/// What all peers take.
#[derive(Clone, Debug, Args)]
pub struct Net {
    /// Signalling server, as http(s)://host[:port]; more than one for safety.
    #[arg(long, env = "BATON_SERVER", value_delimiter = ',', value_name = "URL")]
    pub server: Vec<String>,
    /// Most upload per second: 500K, 2M, 1G bytes.
    #[arg(long, value_parser = size, value_name = "RATE")]
    pub upload: Option<u64>,
    /// Stop uploading after so much.
    #[arg(long, value_parser = size, value_name = "SIZE")]
    pub total: Option<u64>,
    /// Local address for peer connections [default: all interfaces]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Vec<IpAddr>,
    /// UDP ports for peer connections, one for each: those that a container or a firewall passes on [default: any]
    #[arg(long, value_name = "FIRST-LAST", value_parser = ports, env = "BATON_UDP_PORTS")]
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Address at which others reach this machine, where its own are not: a container's host, or a router that passes --udp-ports on.
    #[arg(
        long,
        value_delimiter = ',',
        env = "BATON_PUBLIC_IP",
        value_name = "ADDRESS"
    )]
    pub public_ip: Vec<IpAddr>,
    /// Connect through the server's TURN relay only: other peers do not learn this address.
    #[arg(long)]
    pub relay: bool,
}

#[derive(Debug, Args)]
pub struct Seed {
    /// Files or folders: all of them are one stream; with --watch the folder to watch.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub net: Net,
    /// Keep the signing key here, so that the same link survives restarts. With --watch: a folder of keys.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Also print a keeper's ticket.
    #[arg(long)]
    pub ticket: bool,
    /// The stream is over after this long: 90s, 30m, 12h, 7d.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub expires: Option<Duration>,
    /// Share each film of the folder by a link of its own, new ones as they appear, and write feed.xml and feed.json.
    #[arg(long)]
    pub watch: bool,
    /// Where --watch writes its feeds [default: the folder]
    #[arg(long, value_name = "FOLDER")]
    pub feed: Option<PathBuf>,
    /// No QR code on a terminal.
    #[arg(long)]
    pub no_qr: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The link, in quotes: what follows its # is the key.
    pub link: String,
    /// File or folder to make, or a folder to put it into [default: here, under its own name]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub net: Net,
    /// Write the bytes to standard output, in order, for a player.
    #[arg(long)]
    pub stdout: bool,
    /// Serve it at a local HTTP address with Range while it comes; 0.0.0.0:PORT for the whole network.
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:0", value_parser = listen)]
    pub serve: Option<SocketAddr>,
    /// Go on seeding when it is done.
    #[arg(long)]
    pub seed: bool,
    /// Give up when nothing came for this long.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Keep {
    /// Tickets, or files with one ticket per line.
    #[arg(required = true, value_name = "TICKET|FILE")]
    pub tickets: Vec<String>,
    #[command(flatten)]
    pub net: Net,
    /// Most disk space for all streams together.
    #[arg(long, value_parser = size, default_value = "10G", value_name = "SIZE")]
    pub space: u64,
    /// Where to keep them.
    #[arg(
        long,
        default_value = "baton-kept",
        env = "BATON_KEEP_DIR",
        value_name = "FOLDER"
    )]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Info {
    /// The link, in quotes: what follows its # is the key.
    pub link: String,
    #[command(flatten)]
    pub net: Net,
    /// Give up after this long.
    #[arg(long, value_parser = duration, default_value = "15s", value_name = "TIME")]
    pub timeout: Duration,
}

/// `500K`, `2M`, `1.5G`, `1T` or plain bytes; powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text
        .trim()
        .trim_end_matches(['B', 'b'])
        .trim_end_matches('i');
    let (number, scale) = match text.chars().last().map(|c| c.to_ascii_uppercase()) {
        Some('K') => (&text[..text.len() - 1], 1u64 << 10),
        Some('M') => (&text[..text.len() - 1], 1 << 20),
        Some('G') => (&text[..text.len() - 1], 1 << 30),
        Some('T') => (&text[..text.len() - 1], 1 << 40),
        _ => (text, 1),
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| "a size is like 500K, 2M or 10G".to_string())?;
    if !number.is_finite() || number < 0.0 {
        return Err("a size is not negative".into());
    }
    Ok((number * scale as f64) as u64)
}

/// `90s`, `30m`, `12h`, `7d`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "a time is like 90s, 30m, 12h or 7d".to_string();
    let text = text.trim();
    let (number, scale) = match text.chars().last() {
        Some('s') => (&text[..text.len() - 1], 1u64),
        Some('m') => (&text[..text.len() - 1], 60),
        Some('h') => (&text[..text.len() - 1], 3600),
        Some('d') => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    let seconds = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .ok_or_else(fault)?;
    if seconds > LONGEST_S {
        return Err("a time is no longer than a hundred years".into());
    }
    Ok(Duration::from_secs(seconds))
}

/// Longer ones are slips, and no clock can count to them.
const LONGEST_S: u64 = 100 * 365 * 86_400;

/// `ADDRESS:PORT`, an address with any port, or a port of this machine alone.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let alone = |port| SocketAddr::from(([127, 0, 0, 1], port));
    text.parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)))
        .or_else(|_| text.parse().map(alone))
        .map_err(|_| "an address to serve at is like 9000 or 0.0.0.0:9000".into())
}

/// `40000-40100`, or one port.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("ports are like 40000-40100".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        assert_eq!(size("500K"), Ok(512_000));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("12"), Ok(12));
        assert!(size("-1").is_err() && size("x").is_err() && size("").is_err());
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert!(duration("9999999999999999999s").is_err());
        assert!(duration("36501d").is_err());
        assert!(duration("99999999999999999999d").is_err() && duration("é").is_err());
        assert_eq!(listen("9000"), Ok(SocketAddr::from(([127, 0, 0, 1], 9000))));
        assert_eq!(listen("0.0.0.0"), Ok(SocketAddr::from(([0, 0, 0, 0], 0))));
        assert_eq!(listen("[::1]:7"), Ok("[::1]:7".parse().expect("one")));
        assert!(listen("film").is_err() && listen("70000").is_err());
        assert_eq!(ports("40000-40100"), Ok(40_000..=40_100));
        assert_eq!(ports("7"), Ok(7..=7));
        assert!(ports("0-5").is_err() && ports("9-1").is_err() && ports("1-70000").is_err());
    }

    #[test]
    fn machines_are_told_what_is_wrong_with_the_command_line() {
        let line = ["baton", "--json", "get"];
        let error = Cli::try_parse_from(line).expect_err("a link is missing");
        let said = refusal(&error);
        assert_eq!(
            (&said["event"], &said["code"]),
            (&"error".into(), &2.into())
        );
        let reason = said["reason"].as_str().expect("a text");
        assert!(reason.starts_with("the following required"), "{reason}");
        assert_eq!(Cli::read(&line.map(OsString::from)).map(drop), Err(2));
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
