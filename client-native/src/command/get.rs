//! `baton get`: everything, verified, under its name; or in order to a player.

use super::{fatal, left, net, nobody, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::library::Library;
use crate::peer::{self, Destination};
use crate::reader::Reader;
use crate::serve;
use crate::session::{Control, Handle};
use crate::show::Show;
use crate::worker::News;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedSender;

pub async fn run(args: args::Get, show: &mut Show) -> Result<(), Exit> {
    let destination = match &args.output {
        None if args.stdout || args.serve.is_some() => Destination::Nameless,
        path => {
            let path = path.clone().unwrap_or_else(|| PathBuf::from("."));
            if args.seed {
                Destination::Seeding(path)
            } else {
                Destination::At(path)
            }
        }
    };
    if let Destination::At(path) = &destination
        && path.is_file()
    {
        return Err(Exit::new(
            exit::FILE,
            format!("{} is there already", path.display()),
        ));
    }
    let (mut session, library) = peer::fetch(&args.link, destination, &net(&args.net))?;
    if let Some(address) = args.serve {
        let listening = serve::listen(address, library.clone(), session.control.clone()).await;
        let real = listening.map_err(|error| {
            Exit::new(exit::OTHER, format!("cannot serve at {address}: {error}"))
        })?;
        let urls = serve::addresses(real)
            .into_iter()
            .map(|at| format!("http://{at}/"));
        let urls: Vec<String> = urls.collect();
        let event = json!({"event": "serving", "url": urls[0], "urls": urls});
        show.result(&urls.join("\n"), &event);
    }
    let result = follow(&args, &mut session, &library, show).await;
    show.finish();
    session.leave().await;
    result
}

async fn follow(
    args: &args::Get,
    session: &mut Handle,
    library: &Arc<Library>,
    show: &mut Show,
) -> Result<(), Exit> {
    let mut snapshot = session.snapshot.clone();
    let mut piped = args
        .stdout
        .then(|| tokio::spawn(pipe(library.clone(), session.control.clone())));
    let (mut received, mut last_news) = (0, Instant::now());
    let mut done = false;
    let end = stopped();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => {
                return if done { Ok(()) } else { Err(Exit::new(exit::INTERRUPTED, "stopped before it was done; the same command goes on")) };
            }
            news = session.news.recv() => match news {
                Some(News::Manifest) => manifest(library, show),
                Some(News::Finished) => {
                    done = true;
                    finished(args, library, &snapshot.borrow().stats, show);
                }
                Some(news) if matches!(news, News::Left { .. }) => left(&news, show),
                Some(news) => if let Some(exit) = fatal(&news) { return Err(exit) },
                None => return Err(Exit::new(exit::OTHER, "the session ended")),
            },
            changed = snapshot.changed() => {
                if changed.is_err() {
                    return Err(Exit::new(exit::OTHER, "the session ended"));
                }
                let now = snapshot.borrow_and_update().clone();
                let size = library.manifest().map_or(0, |m| m.entries.iter().map(|e| e.size).sum());
                if !done || args.seed {
                    show.progress(&now, size, done);
                }
                // While all of it is here and being looked through, nothing has to come.
                let waits = now.stats.completeness_permille < 1000;
                if now.stats.received_bytes > received || !waits {
                    (received, last_news) = (now.stats.received_bytes, Instant::now());
                }
                let patience = args.timeout.filter(|_| !done);
                if patience.is_some_and(|patience| last_news.elapsed() > patience) {
                    return Err(nobody(&now, "nobody sent anything for so long"));
                }
            }
            wrote = async { piped.as_mut().expect("guarded").await }, if piped.is_some() => {
                piped = None;
                match wrote {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                        return Err(Exit::new(exit::INTERRUPTED, "the reader was closed"));
                    }
                    Ok(Err(error)) => return Err(Exit::new(exit::FILE, format!("cannot write: {error}"))),
                    Err(_) => return Err(Exit::new(exit::OTHER, "the writer ended")),
                }
            }
        }
        // A server for players, and a seeder, stay until they are stopped.
        if done && piped.is_none() && !args.seed && args.serve.is_none() {
            return Ok(());
        }
    }
}

fn manifest(library: &Library, show: &Show) {
    let Some(manifest) = library.manifest() else {
        return;
    };
    let size: u64 = manifest.entries.iter().map(|entry| entry.size).sum();
    let event = json!({"event": "manifest", "title": manifest.title, "size": size, "files": manifest.entries.len()});
    if show.json() {
        show.note("", &event);
    }
}

fn finished(args: &args::Get, library: &Library, stats: &baton_swarm::Stats, show: &mut Show) {
    show.finish();
    let path = library.path().map(|path| path.display().to_string());
    let event = json!({
        "event": "done",
        "path": path,
        "received_bytes": stats.received_bytes,
        "rejected_blocks": stats.rejected_blocks,
    });
    match path {
        Some(path) if !args.stdout => show.result(&path, &event),
        _ if args.stdout && !show.json() => {}
        _ => show.note("All of it is here.", &event),
    }
}

/// Every file of the stream, one after the other.
async fn pipe(library: Arc<Library>, control: UnboundedSender<Control>) -> std::io::Result<()> {
    let mut changes = library.changes();
    let manifest = loop {
        changes.borrow_and_update();
        if let Some(manifest) = library.manifest() {
            break manifest;
        }
        if changes.changed().await.is_err() {
            return Err(std::io::Error::other("the session has ended"));
        }
    };
    let mut out = tokio::io::stdout();
    for (place, entry) in manifest.entries.iter().enumerate() {
        let mut reader = Reader::new(library.clone(), control.clone(), place, 0, entry.size);
        while let Some(bytes) = reader.next().await? {
            out.write_all(&bytes).await?;
        }
    }
    out.flush().await
}
