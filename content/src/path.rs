//! Paths of files in a stream: what a publisher may write, and what anybody's stream may make on a disk.
//!
//! A manifest is read leniently ([`is_path`]: no path leaves its folder) and written strictly ([`is_clean`]: fit for every system). Who puts a
//! stream on a disk uses [`clean_paths`], since another publisher's program may have been less strict.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::PATH_LEN_MAX;

/// A path that can be put below any folder without leaving it, on any system, and that looks like what it is.
pub fn is_path(path: &str) -> bool {
    path.len() <= PATH_LEN_MAX
        && path.split('/').all(is_name)
        && !matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Whether every system takes this path as it is.
pub fn is_clean(path: &str) -> bool {
    is_path(path) && path.split('/').all(is_clean_name)
}

/// The nearest path that every system takes; `file` where nothing is left.
pub fn clean_path(path: &str) -> String {
    let mut clean = String::new();
    for part in path
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != "..")
    {
        if !clean.is_empty() {
            clean.push('/');
        }
        if is_device(part) {
            clean.push('_');
        }
        let end = part.trim_end_matches(['.', ' ']).len();
        clean.extend(part.char_indices().map(|(at, character)| {
            if at >= end || is_unfit(character) {
                '_'
            } else {
                character
            }
        }));
    }
    clean.truncate(clean.floor_char_boundary(PATH_LEN_MAX));
    // The cut may have left a part's end as it must not be.
    match is_clean(&clean) {
        true => clean,
        false => "file".to_owned(),
    }
}

/// A place on the disk for each path: clean, and no two the same or one the folder of another, also where case does not count.
///
/// The first keeps its name; `a.jpg` that clashes becomes `a (2).jpg`.
pub fn clean_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let clean: Vec<String> = paths.into_iter().map(clean_path).collect();
    // Folders first: what is a folder for one path cannot be a file for another, so files give way.
    let mut taken: BTreeSet<String> = clean.iter().flat_map(|path| folders(path)).collect();
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    let mut place = |path: String| {
        if taken.insert(path.to_lowercase()) {
            return path;
        }
        // Each number is tried once for a name, so a thousand equal ones cost a thousand steps and not a million.
        let number = next.entry(path.to_lowercase()).or_insert(2);
        loop {
            let candidate = numbered(&path, *number);
            *number += 1;
            if taken.insert(candidate.to_lowercase()) {
                return candidate;
            }
        }
    };
    clean.into_iter().map(&mut place).collect()
}

fn folders(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/')
        .map(|(at, _)| path[..at].to_lowercase())
}

fn numbered(path: &str, number: u32) -> String {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let end = match path[name..].rfind('.') {
        None | Some(0) => path.len(),
        Some(at) => name + at,
    };
    // A name at the limit gives up its end for the number.
    let (mut stem, suffix) = (&path[..end], format!(" ({number}){}", &path[end..]));
    let room = PATH_LEN_MAX.saturating_sub(suffix.len()).max(name);
    stem = &stem[..stem.floor_char_boundary(room)];
    format!("{stem}{suffix}")
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.contains(|character| character == '\\' || is_invisible(character))
}

fn is_clean_name(part: &str) -> bool {
    !part.contains(is_unfit) && !part.ends_with(['.', ' ']) && !is_device(part)
}

/// What Windows refuses in a name, and what shows as nothing or as something else.
fn is_unfit(character: char) -> bool {
    matches!(
        character,
        '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '/'
    ) || is_invisible(character)
}

/// Control characters, and those that turn the direction of writing: with them `gpj.exe` reads `exe.jpg`.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Names that are devices on Windows, in whatever folder and with whatever extension.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end();
    if let [head @ .., b'0'..=b'9'] = stem.as_bytes() {
        return [&b"com"[..], b"lpt"]
            .iter()
            .any(|name| head.eq_ignore_ascii_case(name));
    }
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
        .iter()
        .any(|name| stem.eq_ignore_ascii_case(name))
}
