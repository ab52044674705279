//! What the server writes down, and what it does not.
//!
//! Invariant: no line holds an address, a SwarmId or a PeerId unless `--log-addresses` asks for it. Whoever logs one goes through
//! [`Log::address`] or [`Log::id`], which are `None` otherwise, and tracing leaves such a field out. Lines of other crates are never written:
//! nobody here has looked at what is in them.

use std::net::IpAddr;

use clap::ValueEnum;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;

/// What is logged to standard error, and how.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Log {
    /// What is written to standard error: `info` is what the operator should know (start, stop, certificates), `debug` every session too.
    #[arg(long, env = "BATON_LOG", default_value = "info", value_name = "LEVEL")]
    pub log: Level,

    /// How lines look: `text` for people, `json` for programs, one object per line.
    #[arg(
        long,
        env = "BATON_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: Format,

    /// Write addresses, SwarmIds and PeerIds into the lines of `debug`. Without this no line has any.
    #[arg(long, env = "BATON_LOG_ADDRESSES")]
    pub log_addresses: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl Log {
    /// What takes the lines in and writes them to `writer`.
    pub fn subscriber(
        &self,
        writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    ) -> Box<dyn Subscriber + Send + Sync> {
        let level = match self.log {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        };
        // Ours alone, the program's and the library's.
        let ours = Targets::new().with_target("baton", level);
        let lines = fmt::layer().with_writer(writer).with_target(false);
        let all = tracing_subscriber::registry().with(ours);
        match self.log_format {
            Format::Text => Box::new(all.with(lines.with_ansi(false))),
            Format::Json => Box::new(all.with(lines.json().flatten_event(true))),
        }
    }

    /// The address as a field of a line, if lines may have it.
    pub fn address(&self, address: IpAddr) -> Option<String> {
        self.log_addresses.then(|| address.to_string())
    }

    /// A SwarmId or PeerId as a field of a line, if lines may have it.
    pub fn id(&self, id: &[u8; 32]) -> Option<String> {
        let hex = || id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.log_addresses.then(hex)
    }
}
