//! The three kinds of peer, ready to run: what the commands and the tests start.

use crate::exit::{self, Exit};
use crate::index::{Index, IndexError};
use crate::keeper::{Keeper, Space};
use crate::keyfile::KeyError;
use crate::library::Library;
use crate::output::{self, Target};
use crate::publisher::{Publisher, Source};
use crate::session::{self, Handle, Setup};
use crate::viewer::Viewer;
use crate::worker;
use baton_content::{Link, SwarmId, Ticket};
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
    pub upload_bytes_per_second: Option<u64>,
    pub upload_total: Option<u64>,
    /// Empty: every interface; loopback too where the server is on it.
    pub bind: Vec<IpAddr>,
}

impl Net {
    fn bind(&self) -> Vec<IpAddr> {
        if !self.bind.is_empty() {
            return self.bind.clone();
        }
        let mut bind = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        // Asks the routing table only; nothing is sent.
        let v6 = UdpSocket::bind("[::]:0")
            .and_then(|socket| socket.connect("[2001:4860:4860::8888]:53"));
        if v6.is_ok() {
            bind.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
        let local = |origin: &String| {
            let host = origin.split("://").nth(1).unwrap_or_default();
            host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
        };
        if self.servers.iter().any(local) {
            bind.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        bind
    }

    fn config(&self) -> Config {
        Config {
            peers_max: PEERS_MAX,
            upload_bytes_per_second: self.upload_bytes_per_second,
            ..Config::default()
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
            return Err(Exit::new(
                exit::USAGE,
                "no server is known: give one with --server",
            ));
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
        have: Vec::new(),
        swarm_key: keys.swarm,
        signalling_key: keys.signalling,
        servers,
        bind: net.bind(),
        upload_total: net.upload_total,
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
    let keys = link.keys();
    let swarm = keys.swarm.id();
    let scratch = std::env::temp_dir().join(format!(
        "baton-{}.index",
        u64::from_le_bytes(crate::random())
    ));
    let (target, index_path) = match &destination {
        Destination::At(path) => (Target::At(path.clone()), output::index_path(path, &swarm)),
        Destination::Nameless | Destination::Nowhere => (Target::Nameless, scratch.clone()),
    };
    let mut index = Index::open(&index_path, &link.publisher, &swarm)?;
    if let Destination::At(path) = &destination {
        forget_lost_files(&mut index, path, &index_path, &link, &swarm)?;
    } else {
        // A log without a name goes with its process.
        let _ = std::fs::remove_file(&index_path);
    }
    let (have, head) = (index.have(), index.head().cloned());
    let (news, answers) = mpsc::unbounded_channel();
    let library = Arc::new(Library::default());
    let viewer = Viewer::new(
        keys.link_slot,
        index,
        index_path,
        target,
        library.clone(),
        news.clone(),
    );
    let first = viewer.start_set().into_iter().collect();
    let (worker, jobs) = worker::queue();
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
        have,
        swarm_key: keys.swarm,
        signalling_key: keys.signalling,
        servers,
        bind: net.bind(),
        upload_total: net.upload_total,
        worker,
        answers,
        library: Some(library.clone()),
        first,
    });
    Ok((session, library))
}

/// An index whose half file was removed claims what is not there: it begins anew.
fn forget_lost_files(
    index: &mut Index,
    path: &Path,
    index_path: &Path,
    link: &Link,
    swarm: &SwarmId,
) -> Result<(), Exit> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let claims = index
        .pieces()
        .any(|(piece, mask)| piece.lane != baton_content::MANIFEST_LANE && !mask.is_empty());
    if claims && !path.is_dir() && !Path::new(&part).exists() {
        let fresh = index_path.with_extension("fresh");
        let _ = std::fs::remove_file(&fresh);
        let new = Index::open(&fresh, &link.publisher, swarm)?;
        std::fs::rename(&fresh, index_path)
            .map_err(|error| Exit::new(exit::FILE, error.to_string()))?;
        *index = new;
    }
    Ok(())
}

/// Room for keepers.
pub fn space(limit: u64) -> Arc<Space> {
    Arc::new(Space::new(limit))
}

/// Keeps a stream alive without being able to read it.
pub fn keep(ticket: &Ticket, folder: &Path, space: &Arc<Space>, net: &Net) -> Result<Handle, Exit> {
    let servers = net.servers("", ticket.servers())?;
    let swarm = ticket.swarm.id();
    let folder = folder.join(swarm.to_string());
    std::fs::create_dir_all(&folder).map_err(|error| Exit::new(exit::FILE, error.to_string()))?;
    let index = Index::open(&folder.join("index"), &ticket.publisher, &swarm)?;
    let (have, head) = (index.have(), index.head().cloned());
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
        have,
        swarm_key: ticket.swarm.clone(),
        signalling_key: ticket.signalling,
        servers,
        bind: net.bind(),
        upload_total: net.upload_total,
        worker,
        answers,
        library: None,
        first: Vec::new(),
    }))
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
