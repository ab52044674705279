//! The three kinds of peer, ready to run: what the commands and the tests start.

use crate::exit::{self, Exit};
use crate::ice::{Ports, Routes};
use crate::index::{Found, Index, IndexError};
use crate::keeper::Keeper;
use crate::keyfile::KeyError;
use crate::library::Library;
use crate::output::{Place, Target};
use crate::publisher::{Publisher, Source};
use crate::session::{self, Handle, Setup};
use crate::space::Space;
use crate::uplink::Uplink;
use crate::viewer::{self, Viewer};
use crate::worker;
use baton_content::{Link, Ticket};
use baton_swarm::{Config, Role, Stream};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What all peers of a process share.
#[derive(Clone, Debug, Default)]
pub struct Net {
    /// Origins, best first.
    pub servers: Vec<String>,
    /// What all sessions may send together.
    pub uplink: Uplink,
    /// Empty: every interface; loopback too where the server is on it.
    pub bind: Vec<IpAddr>,
    /// Local UDP ports; any without it.
    pub ports: Option<Ports>,
    /// Where others reach this machine, beside its own addresses.
    pub public: Vec<IpAddr>,
    /// Through TURN servers only.
    pub relay_only: bool,
    /// Connections to look for, where that is not the usual number: benchmarks with many viewers in one process.
    pub peers_wanted: Option<u16>,
}

impl Net {
    fn routes(&self, servers: &[String]) -> Result<Routes, Exit> {
        Ok(Routes {
            bind: self.bind(servers)?,
            ports: self.ports.clone(),
            public: self.public.clone(),
            relay_only: self.relay_only,
        })
    }

    /// Local addresses for connections to whoever these servers name.
    fn bind(&self, servers: &[String]) -> Result<Vec<IpAddr>, Exit> {
        for ip in &self.bind {
            UdpSocket::bind((*ip, 0))
                .map_err(|error| Exit::new(exit::USAGE, format!("--bind {ip}: {error}")))?;
        }
        if !self.bind.is_empty() {
            return Ok(self.bind.clone());
        }
        let mut bind = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        // Asks the routing table only; nothing is sent.
        let v6 = UdpSocket::bind("[::]:0")
            .and_then(|socket| socket.connect("[2001:4860:4860::8888]:53"));
        if v6.is_ok() {
            bind.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
        let at = |host: &str| {
            let mut hosts = servers
                .iter()
                .filter_map(|origin| origin.split("://").nth(1));
            hosts.any(|name| name.starts_with(host))
        };
        if at("127.") || at("localhost") {
            bind.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        if at("[::1]") {
            bind.push(IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
        Ok(bind)
    }

    fn config(&self) -> Config {
        let usual = Config::default();
        Config {
            peers_max: PEERS_MAX,
            peers_wanted: self.peers_wanted.unwrap_or(usual.peers_wanted),
            ..usual
        }
    }

    /// Those of the command line first, then the link's.
    fn servers(&self, text: &str, named: &[String]) -> Result<Vec<String>, Exit> {
        let mut servers: Vec<String> = self
            .servers
            .iter()
            .map(|s| s.trim_end_matches('/').to_string())
            .collect();
        if let Some((page, _)) = text.split_once('#')
            && let Some((scheme, rest)) = page.split_once("://")
        {
            servers.push(format!(
                "{scheme}://{}",
                rest.split('/').next().unwrap_or_default()
            ));
        }
        servers.extend(named.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        servers.retain(|server| server.starts_with("http") && seen.insert(server.clone()));
        if servers.is_empty() {
            let reason = match self.servers.first() {
                Some(odd) => format!("\"{odd}\" is no server: one is like https://host"),
                None => "no server is known: give one with --server https://host".into(),
            };
            return Err(Exit::new(exit::USAGE, reason));
        }
        Ok(servers)
    }
}

/// A stream that is being published.
pub struct Published {
    pub session: Handle,
    pub link: Link,
    /// The whole link, on the first server's page.
    pub url: String,
    pub title: String,
    pub size: u64,
}

/// Shares files. The link is ready when this returns; nothing has been read by then.
pub fn publish(
    sources: &[Source],
    title: Option<String>,
    key: Option<PathBuf>,
    expires_unix_s: u64,
    net: &Net,
) -> Result<Published, Exit> {
    let servers = net.servers("", &[])?;
    let routes = net.routes(&servers)?;
    let (news, answers) = mpsc::unbounded_channel();
    let publisher = Publisher::new(sources, title, key, expires_unix_s, news.clone())?;
    let link = publisher.link(&servers);
    let (title, size) = (publisher.title().to_string(), publisher.size());
    let keys = publisher.state().keys();
    let stream = Stream {
        publisher: link.publisher,
        swarm: keys.swarm.id(),
        head: Some(publisher.head().clone()),
    };
    let (worker, jobs) = worker::queue();
    publisher.begin(worker.clone());
    worker::spawn(Box::new(publisher), jobs, news);
    let url = link.url(&servers[0]);
    let session = session::start(Setup {
        stream,
        role: Role::Publisher,
        config: net.config(),
        found: Box::new(std::iter::empty()),
        swarm_key: keys.swarm,
        signalling_key: keys.signalling,
        routes,
        servers,
        uplink: net.uplink.clone(),
        worker,
        answers,
        library: None,
        first: Vec::new(),
    });
    Ok(Published {
        session,
        link,
        url,
        title,
        size,
    })
}

/// Where a download goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A file or folder to make, or a folder to put it into.
    At(PathBuf),
    /// The same, and later runs seed from it when it is finished.
    Seeding(PathBuf),
    /// A temporary file without a name.
    Nameless,
    /// Nothing but the manifest is wanted.
    Nowhere,
}

/// Fetches what a link names, going on where an earlier run was stopped.
pub fn fetch(
    text: &str,
    destination: Destination,
    net: &Net,
) -> Result<(Handle, Arc<Library>), Exit> {
    let link = Link::parse(text).map_err(|error| Exit::new(exit::USAGE, error.to_string()))?;
    let servers = net.servers(text, link.servers())?;
    let routes = net.routes(&servers)?;
    let keys = link.keys();
    let swarm = keys.swarm.id();
    let seeding = matches!(destination, Destination::Seeding(_));
    let mut place = match &destination {
        Destination::At(path) | Destination::Seeding(path) => Some(Place::new(path, &swarm)),
        Destination::Nameless | Destination::Nowhere => None,
    };
    let index_path = match &place {
        Some(place) => place.index_path(),
        None => std::env::temp_dir().join(format!(
            "baton-{}.index",
            u64::from_le_bytes(crate::random())
        )),
    };
    let index = Index::open(&index_path, &link.publisher, &swarm)?;
    if place.is_none() {
        // A log without a name goes with its process.
        let _ = std::fs::remove_file(&index_path);
    }
    if let Some(place) = &mut place {
        place.again = seeding && index.has_content();
    }
    let (found, head) = (found(&index)?, index.head().cloned());
    let (news, answers) = mpsc::unbounded_channel();
    let library = Arc::new(Library::default());
    let (worker, jobs) = worker::queue();
    let mut viewer = Viewer::new(viewer::Setup {
        slot_key: keys.link_slot,
        index,
        index_path,
        keep_index: seeding,
        target: match (place, &destination) {
            (Some(place), _) => Target::At(place),
            (None, Destination::Nowhere) => Target::Nowhere,
            (None, _) => Target::Nameless,
        },
        library: library.clone(),
        worker: worker.clone(),
        news: news.clone(),
    });
    let first = viewer.begin();
    worker::spawn(Box::new(viewer), jobs, news);
    let mut config = net.config();
    config.background = !matches!(destination, Destination::Nowhere);
    let session = session::start(Setup {
        stream: Stream {
            publisher: link.publisher,
            swarm,
            head,
        },
        role: Role::Viewer,
        config,
        found,
        swarm_key: keys.swarm,
        signalling_key: keys.signalling,
        routes,
        servers,
        uplink: net.uplink.clone(),
        worker,
        answers,
        library: Some(library.clone()),
        first,
    });
    Ok((session, library))
}

/// Keeps a stream alive without being able to read it.
pub fn keep(ticket: &Ticket, folder: &Path, space: &Arc<Space>, net: &Net) -> Result<Handle, Exit> {
    let servers = net.servers("", ticket.servers())?;
    let routes = net.routes(&servers)?;
    let swarm = ticket.swarm.id();
    let folder = folder.join(swarm.to_string());
    std::fs::create_dir_all(&folder).map_err(|error| Exit::new(exit::FILE, error.to_string()))?;
    let index = Index::open(&folder.join("index"), &ticket.publisher, &swarm)?;
    let (found, head) = (found(&index)?, index.head().cloned());
    let (news, answers) = mpsc::unbounded_channel();
    let (worker, jobs) = worker::queue();
    let keeper = Keeper::new(
        swarm,
        folder,
        index,
        space.clone(),
        worker.clone(),
        news.clone(),
    );
    worker::spawn(Box::new(keeper), jobs, news);
    let mut config = net.config();
    config.peers_max = KEEPER_PEERS_MAX;
    Ok(session::start(Setup {
        stream: Stream {
            publisher: ticket.publisher,
            swarm,
            head,
        },
        role: Role::Keeper,
        config,
        found,
        swarm_key: ticket.swarm.clone(),
        signalling_key: ticket.signalling,
        routes,
        servers,
        uplink: net.uplink.clone(),
        worker,
        answers,
        library: None,
        first: Vec::new(),
    }))
}

fn found(index: &Index) -> Result<Box<Found>, Exit> {
    let found = index.found();
    found
        .map(Box::new)
        .map_err(|error| Exit::new(exit::FILE, error.to_string()))
}

impl From<KeyError> for Exit {
    fn from(error: KeyError) -> Exit {
        Exit::new(exit::FILE, error.to_string())
    }
}

impl From<IndexError> for Exit {
    fn from(error: IndexError) -> Exit {
        Exit::new(exit::FILE, error.to_string())
    }
}

/// Connections of one native peer: no browser counts them here; each costs about a megabyte at full rate.
const PEERS_MAX: u16 = 64;
/// A keeper is there for many.
const KEEPER_PEERS_MAX: u16 = 160;
