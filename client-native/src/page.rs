//! What `--serve` shows to people: a page with every file, and a playlist for players.

use crate::feed::escape;
use baton_content::{Entry, Manifest};
use indicatif::HumanBytes;
use std::fmt::Write;

/// The page at `/`: no script, nothing from elsewhere.
pub fn index(manifest: &Manifest) -> String {
    let title = escape(&manifest.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body{{font:1.2em/1.6 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}\
         li{{overflow-wrap:anywhere}}</style>\n<h1>{title}</h1>\n<ul>\n"
    );
    for entry in &manifest.entries {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "<li><a href=\"/{}\">{}</a> ({})",
            percent_encode(&entry.path),
            escape(&entry.path),
            HumanBytes(entry.size),
        );
    }
    page + "</ul>\n<p><a href=\"/playlist.m3u\">Playlist for a player</a>\n</html>\n"
}

/// Everything that plays, or everything if nothing is known to, as M3U. `host`: as the player named us.
pub fn playlist(manifest: &Manifest, host: &str) -> String {
    let plays = |entry: &&Entry| {
        let mime = entry.mime.as_deref().unwrap_or_default();
        mime.starts_with("video/") || mime.starts_with("audio/")
    };
    let films: Vec<&Entry> = manifest.entries.iter().filter(plays).collect();
    let entries = match films.is_empty() {
        true => manifest.entries.iter().collect(),
        false => films,
    };
    let mut text = String::from("#EXTM3U\n");
    for entry in entries {
        let seconds = entry
            .duration_us
            .map_or(-1, |us| i64::try_from(us / 1_000_000).unwrap_or(-1));
        let name: String = entry
            .path
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let path = percent_encode(&entry.path);
        let _ = writeln!(text, "#EXTINF:{seconds},{name}\nhttp://{host}/{path}");
    }
    text
}

/// Everything but what RFC 3986 calls unreserved, and the slashes between folders.
fn percent_encode(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::Kind;

    fn album() -> Manifest {
        let mut manifest = Manifest::file(Entry::new("one & twö.mp4", 7));
        (manifest.kind, manifest.title) = (Kind::Collection, "<b>album".into());
        // A manifest takes no such name; a page must not depend on that.
        manifest.entries[0].path = "one & <twö>?.mp4".into();
        manifest.entries[0].mime = Some("video/mp4".into());
        manifest.entries[0].duration_us = Some(61_500_000);
        manifest.entries.push(Entry::new("notes.txt", 7));
        manifest
    }

    #[test]
    fn a_name_with_markup_stays_text_and_its_address_one_path() {
        let page = index(&album());
        assert!(page.contains("<h1>&lt;b&gt;album</h1>"));
        let link = r#"<a href="/one%20%26%20%3Ctw%C3%B6%3E%3F.mp4">one &amp; &lt;twö&gt;?.mp4</a>"#;
        assert!(page.contains(link), "{page}");
        assert!(page.contains("/notes.txt"));
    }

    #[test]
    fn a_playlist_has_what_plays() {
        let text = playlist(&album(), "192.168.1.5:9000");
        let film = "#EXTINF:61,one & <twö>?.mp4\nhttp://192.168.1.5:9000/one%20%26%20%3Ctw%C3%B6%3E%3F.mp4\n";
        assert_eq!(text, format!("#EXTM3U\n{film}"));
    }
}
