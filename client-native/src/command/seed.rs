//! `baton seed`: the link first, then peers, rates and copies until it is stopped.

use super::{TurnedAway, fatal, left, net, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::peer;
use crate::publisher::Source;
use crate::show::{Show, qr};
use crate::worker::News;
use serde_json::json;
use std::io::IsTerminal;
use std::path::Path;

pub async fn run(args: args::Seed, show: &mut Show) -> Result<(), Exit> {
    let (sources, title) = sources(&args.files)?;
    let expires = args
        .expires
        .map_or(0, |after| crate::unix_s() + after.as_secs());
    let mut published = peer::publish(&sources, title, args.key.clone(), expires, &net(&args.net))?;
    announce(&published, args.ticket, !args.no_qr, show);
    let mut snapshot = published.session.snapshot.clone();
    let size = published.size;
    let mut turned_away = TurnedAway::default();
    let end = stopped();
    tokio::pin!(end);
    let result = loop {
        tokio::select! {
            () = &mut end => break Ok(()),
            news = published.session.news.recv() => match news {
                Some(News::Hashed { bytes }) => {
                    let event = json!({"event": "hashed", "bytes": bytes});
                    show.note("Everything has been read once: peers can check their copy with b3sum.", &event);
                }
                Some(news) if matches!(news, News::Left { .. }) => left(&news, show),
                Some(news) => if let Some(exit) = fatal(&news) { break Err(exit) },
                None => break Err(Exit::new(exit::OTHER, "the session ended")),
            },
            changed = snapshot.changed() => {
                if changed.is_err() {
                    break Err(Exit::new(exit::OTHER, "the session ended"));
                }
                let now = snapshot.borrow_and_update().clone();
                turned_away.tell(&now, &published.title, show);
                show.progress(&now, size, true);
            }
        }
    };
    show.finish();
    published.session.leave().await;
    result
}

/// The link on its own line, before anything else.
pub fn announce(published: &peer::Published, with_ticket: bool, with_qr: bool, show: &Show) {
    let ticket = published.link.ticket();
    // A ticket names its servers itself: it has no page.
    let ticket = ticket_text(&published.url, &published.link, ticket.encode());
    let mut event = json!({"event": "link", "link": published.url, "title": published.title, "size": published.size});
    if with_ticket {
        event["ticket"] = json!(ticket);
    }
    show.result(&published.url, &event);
    if show.json() {
        return;
    }
    if with_ticket {
        show.result(&ticket, &event);
    }
    if with_qr
        && std::io::stderr().is_terminal()
        && let Some(code) = qr(&published.url)
    {
        show.note(&code, &event);
    }
}

/// The ticket of a link whose first server is in its page's address only.
fn ticket_text(url: &str, link: &baton_content::Link, plain: String) -> String {
    let mut link = link.clone();
    let origin = url.split("/#").next().unwrap_or_default();
    match link.add_server(origin) {
        Ok(()) => link.ticket().encode(),
        Err(_) => plain,
    }
}

/// The files that are meant: one alone is itself, a folder or several are a collection with a title.
pub fn sources(paths: &[std::path::PathBuf]) -> Result<(Vec<Source>, Option<String>), Exit> {
    let mut sources = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        let name = unique(name(path), &mut names);
        if metadata.is_dir() {
            let prefix = if paths.len() == 1 {
                String::new()
            } else {
                format!("{name}/")
            };
            walk(path, &prefix, &mut sources)?;
        } else if !metadata.is_file() {
            let reason = format!("{} is neither a file nor a folder", path.display());
            return Err(Exit::new(exit::FILE, reason));
        } else {
            sources.push(Source {
                name,
                path: path.clone(),
            });
        }
    }
    if sources.is_empty() {
        return Err(Exit::new(exit::FILE, "there is no file to share"));
    }
    let single_file = paths.len() == 1 && paths[0].is_file();
    let title = (!single_file).then(|| {
        if paths.len() == 1 {
            name(&paths[0])
        } else {
            "files".into()
        }
    });
    Ok((sources, title))
}

/// All files below a folder, by name; hidden ones are left out, links are not followed out of it.
fn walk(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> Result<(), Exit> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), sources)?;
        } else if kind.is_file() {
            sources.push(Source {
                name: format!("{prefix}{name}"),
                path,
            });
        }
        if sources.len() > baton_content::manifest::ENTRIES_MAX {
            return Err(Exit::new(exit::FILE, "more files than one stream takes"));
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().map_or_else(
        || "files".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The name, or the name with the first number that makes it one of its own: `film (2).mp4`.
fn unique(name: String, taken: &mut std::collections::BTreeSet<String>) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem.to_string(), format!(".{extension}")),
        _ => (name.clone(), String::new()),
    };
    let mut own = name;
    let mut number = 2;
    while !taken.insert(own.clone()) {
        own = format!("{stem} ({number}){extension}");
        number += 1;
    }
    own
}

fn unreadable(path: &Path, error: &std::io::Error) -> Exit {
    Exit::new(exit::FILE, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_or_pipe_is_not_shared_as_an_empty_file() {
        let refused = sources(&["/dev/null".into()]).expect_err("it is none");
        assert_eq!(refused.code, exit::FILE);
    }

    #[test]
    fn files_of_one_name_from_two_folders_keep_their_names_apart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let paths: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|folder| dir.path().join(folder).join("film.mp4"))
            .collect();
        for path in &paths {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is ours");
            std::fs::write(path, b"film").expect("it is ours");
        }
        let (sources, _) = sources(&paths).expect("they are there");
        let names: Vec<_> = sources.into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["film.mp4", "film (2).mp4", "film (3).mp4"]);
    }
}
