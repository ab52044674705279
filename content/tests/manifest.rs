//! What manifests promise.

mod common;

use baton_content::manifest::{
    ENTRIES_MAX, EntryFault, MANIFEST_LEN_MAX, PATH_LEN_MAX, POSTER_LEN_MAX,
};
use baton_content::{
    ByteRange, Entry, Kind, Lane, Manifest, ManifestError, PIECE_LEN, PieceIndex, Poster,
};
use proptest::prelude::*;

fn small() -> Manifest {
    Manifest::file(Entry::new("film.mp4", 5_000_000))
}

fn with_path(path: &str) -> Manifest {
    let mut manifest = small();
    manifest.entries[0].path = path.to_owned();
    manifest
}

/// 40,000 entries: more than two pieces.
fn big() -> Manifest {
    let entries = (0..40_000).map(|number| Entry {
        first_piece: PieceIndex(number),
        ..Entry::new(
            &format!("{}/{number}.jpg", "holiday in the mountains ".repeat(2)),
            1,
        )
    });
    Manifest {
        revision: 5,
        kind: Kind::Collection,
        title: "Holiday".to_owned(),
        entries: entries.collect(),
        poster: None,
    }
}

fn lane(versions: &[&Manifest]) -> Vec<(PieceIndex, Vec<u8>)> {
    let pieces = versions.iter().flat_map(|manifest| {
        manifest
            .to_pieces()
            .expect("the manifest is within its limits")
    });
    (0..).map(PieceIndex).zip(pieces).collect()
}

fn read(pieces: &[(PieceIndex, Vec<u8>)]) -> Result<Option<Manifest>, ManifestError> {
    Manifest::from_lane(
        pieces
            .iter()
            .map(|(index, bytes)| (*index, bytes.as_slice())),
    )
}

#[test]
fn a_manifest_reads_as_what_was_written() {
    let mut manifest = small();
    manifest.poster = Some(Poster {
        mime: "image/jpeg".to_owned(),
        bytes: vec![0xFF; 1000],
    });
    manifest.entries[0].start = vec![ByteRange {
        offset: 4_999_999,
        len: 1,
    }];
    let pieces = lane(&[&manifest]);
    assert_eq!(pieces.len(), 1);
    assert_eq!(read(&pieces), Ok(Some(manifest)));
}

#[test]
fn a_manifest_of_many_files_spans_pieces_and_comes_in_any_order() {
    let manifest = big();
    let mut pieces = lane(&[&manifest]);
    assert!(pieces.len() > 2 && pieces.iter().all(|(_, bytes)| bytes.len() <= PIECE_LEN));
    pieces.reverse();
    assert_eq!(read(&pieces), Ok(Some(manifest)));
}

#[test]
fn the_newest_version_that_is_whole_counts() {
    let (mut first, mut second) = (small(), big());
    (first.revision, second.revision) = (1, 2);
    let mut pieces = lane(&[&first, &second]);
    assert_eq!(read(&pieces), Ok(Some(second.clone())));
    // The old one is not needed for the new one.
    assert_eq!(read(&pieces[1..]), Ok(Some(second)));
    pieces.pop();
    assert_eq!(read(&pieces), Ok(Some(first)));
    assert_eq!(read(&pieces[1..]), Ok(None));
    assert_eq!(read(&[]), Ok(None));
}

#[test]
fn parts_of_different_versions_are_not_put_together() {
    let (first, mut second) = (big(), big());
    second.revision += 1;
    second.title.push('!');
    let (one, other) = (lane(&[&first]), lane(&[&second]));
    let mut mixed = one.clone();
    mixed[1] = other[1].clone();
    assert_eq!(read(&mixed), Ok(None));
}

/// Refused by writers and readers alike.
const BAD_PATHS: [&str; 14] = [
    "",
    "/etc/passwd",
    "../x",
    "a/../b",
    "a//b",
    "a/",
    ".",
    "a/.",
    "C:/x",
    "c:x",
    "a\\b",
    "a\0b",
    "a\nb",
    "photo\u{202E}gpj.exe",
];

/// Harmless somewhere and not elsewhere: no writer of ours makes them, readers take them, downloads change them.
const UNFIT_PATHS: [(&str, &str); 12] = [
    ("1:30.mp4", "1_30.mp4"),
    ("film.mp4:hidden", "film.mp4_hidden"),
    ("film.exe.", "film.exe_"),
    ("a /b.. /c", "a_/b___/c"),
    ("NUL", "_NUL"),
    ("a/con.txt", "a/_con.txt"),
    ("Com1.tar.gz", "_Com1.tar.gz"),
    ("aux .txt", "_aux .txt"),
    ("...", "___"),
    ("x..", "x__"),
    ("what?*<|>\".mp4", "what______.mp4"),
    ("CONIN$", "_CONIN$"),
];

#[test]
fn paths_that_leave_the_folder_or_deceive_are_refused() {
    let long = "x".repeat(PATH_LEN_MAX + 1);
    for path in BAD_PATHS.iter().chain([&long.as_str()]) {
        let error = ManifestError::Entry {
            entry: 0,
            fault: EntryFault::Path,
        };
        assert_eq!(with_path(path).to_pieces(), Err(error), "{path:?}");
        assert_eq!(read(&written_by_another(&with_path(path))), Err(error));
    }
    for path in [
        "film.mp4",
        "a/b/c",
        "..x",
        ".hidden",
        "Ærøskøbing 世界.mkv",
        "a b",
        "console.txt",
        "com10",
        "nully",
        "(1) [x] {y}; 'z' & 100 %.mkv",
    ] {
        assert!(with_path(path).to_pieces().is_ok(), "{path:?}");
        assert_eq!(Entry::new(path, 1).path, path);
    }
}

#[test]
fn what_some_system_would_not_take_is_not_written_and_is_cleaned_on_a_disk() {
    for (path, place) in UNFIT_PATHS {
        let error = with_path(path).to_pieces().expect_err("it is refused");
        let fault = EntryFault::Path;
        assert_eq!(error, ManifestError::Entry { entry: 0, fault }, "{path:?}");
        let manifest = read(&written_by_another(&with_path(path)))
            .expect("it is read")
            .expect("it is whole");
        assert_eq!(manifest.places(), [place]);
        assert_eq!(Entry::new(path, 1).path, place);
    }
}

#[test]
fn files_that_would_overwrite_each_other_somewhere_are_not_written_and_are_kept_apart_on_a_disk() {
    let named = |paths: &[&str]| {
        let entries = paths.iter().map(|path| Entry::new(path, 1)).collect();
        Manifest {
            entries,
            kind: Kind::Collection,
            ..small()
        }
    };
    for (paths, entry, places) in [
        (&["a.jpg", "A.JPG"][..], 1, &["a.jpg", "A (2).JPG"][..]),
        (&["a", "a/b"], 1, &["a (2)", "a/b"]),
        (&["x/y/z", "X/Y"], 0, &["x/y/z", "X/Y (2)"]),
        (
            &["b/.rc", "B/.RC", "b/.rc (2)"],
            1,
            &["b/.rc", "B/.RC (2)", "b/.rc (2) (2)"],
        ),
    ] {
        let manifest = named(paths);
        let fault = EntryFault::SamePath;
        let error = ManifestError::Entry { entry, fault };
        assert_eq!(manifest.to_pieces(), Err(error), "{paths:?}");
        let manifest = read(&written_by_another(&manifest)).unwrap().unwrap();
        assert_eq!(manifest.places(), places);
        let ours = Manifest::collection("x".to_owned(), manifest.entries);
        assert!(ours.to_pieces().is_ok(), "{paths:?}");
        assert_eq!(ours.places(), places);
    }
    // Not ASCII: writers let it pass, a disk does not mix them up.
    assert_eq!(named(&["ä", "Ä"]).places(), ["ä", "Ä (2)"]);
}

#[test]
fn any_file_name_becomes_a_path_that_is_accepted() {
    let long = "é".repeat(PATH_LEN_MAX);
    for (name, path) in [
        ("film.mp4", "film.mp4"),
        ("C:\\x.mp4", "C__x.mp4"),
        ("/a/../b", "a/b"),
        ("..", "file"),
        ("", "file"),
        ("a\nb", "a_b"),
        (&long, &long[..PATH_LEN_MAX]),
    ] {
        let entry = Entry::new(name, 1);
        assert_eq!(entry.path, path);
        assert!(Manifest::file(entry).to_pieces().is_ok());
    }
}

#[test]
fn what_is_out_of_bounds_is_refused_on_writing_and_reading() {
    let refuse = |change: fn(&mut Manifest)| {
        let mut manifest = small();
        change(&mut manifest);
        manifest.to_pieces().expect_err("this is refused")
    };
    let entry = |fault| ManifestError::Entry { entry: 0, fault };
    assert_eq!(
        refuse(|m| m.entries[0].lane = Lane(0)),
        entry(EntryFault::Size)
    );
    assert_eq!(
        refuse(|m| m.entries[0].size = u64::MAX),
        entry(EntryFault::Size)
    );
    assert_eq!(
        refuse(|m| m.entries[0].first_piece = PieceIndex(u32::MAX)),
        entry(EntryFault::Size)
    );
    assert_eq!(
        refuse(|m| m.entries[0].mime = Some("a\nb".to_owned())),
        entry(EntryFault::Mime)
    );
    assert_eq!(
        refuse(|m| m.entries[0].start = vec![ByteRange {
            offset: u64::MAX,
            len: 2
        }]),
        entry(EntryFault::Start)
    );
    assert_eq!(
        refuse(|m| m.entries[0].start = vec![ByteRange {
            offset: 4_999_999,
            len: 2
        }]),
        entry(EntryFault::Start)
    );
    assert_eq!(
        refuse(|m| m.entries[0].start = vec![ByteRange { offset: 0, len: 1 }; 65]),
        entry(EntryFault::Start)
    );
    assert_eq!(
        refuse(|m| m.entries.push(m.entries[0].clone())),
        ManifestError::Entry {
            entry: 1,
            fault: EntryFault::SamePath
        }
    );
    assert_eq!(
        refuse(|m| m.title = "\u{7}".to_owned()),
        ManifestError::Title
    );
    assert_eq!(
        refuse(|m| m.poster = Some(Poster {
            mime: "image/png".to_owned(),
            bytes: vec![0; POSTER_LEN_MAX + 1]
        })),
        ManifestError::Poster
    );
    assert_eq!(
        refuse(|m| m.entries = vec![m.entries[0].clone(); ENTRIES_MAX + 1]),
        ManifestError::TooManyEntries
    );
}

/// A record that no writer of ours makes, in the pieces it would need.
fn pieces_of(record: &[u8]) -> Vec<(PieceIndex, Vec<u8>)> {
    let part = |(part, bytes): (usize, &[u8])| {
        let head = [
            &b"btnmani1"[..],
            &1u32.to_le_bytes(),
            &(part as u32).to_le_bytes(),
            &(record.len() as u32).to_le_bytes(),
        ]
        .concat();
        (PieceIndex(part as u32), [&head, bytes].concat())
    };
    record
        .chunks(PIECE_LEN - 20)
        .enumerate()
        .map(part)
        .collect()
}

/// The pieces of a manifest of entries with nothing but path, size, lane 1 and piece 0, unchecked.
fn written_by_another(manifest: &Manifest) -> Vec<(PieceIndex, Vec<u8>)> {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let text = |text: &str| [varint(text.len()), text.as_bytes().to_vec()].concat();
    let mut record = [vec![1], text("title"), varint(manifest.entries.len())].concat();
    for entry in &manifest.entries {
        // No type, lane 1, piece 0, no start ranges, no duration, no hash.
        let rest = vec![0, 1, 0, 0, 0, 0];
        let entry = [text(&entry.path), varint(entry.size as usize), rest].concat();
        record.extend([varint(entry.len()), entry].concat());
    }
    record.push(0);
    pieces_of(&record)
}

#[test]
fn a_list_of_millions_of_nothings_stops_being_read_at_its_limit() {
    let mut record = vec![0, 0];
    record.extend([0xFF, 0xFF, 0xFF, 0x03]);
    record.resize(MANIFEST_LEN_MAX, 0);
    assert_eq!(read(&pieces_of(&record)), Err(ManifestError::Malformed));
    record.push(0);
    assert_eq!(
        read(&pieces_of(&record)),
        Ok(None),
        "no record is longer than {MANIFEST_LEN_MAX}"
    );
}

#[test]
fn fields_that_a_later_version_appends_are_ignored() {
    let manifest = Manifest {
        entries: Vec::new(),
        ..small()
    };
    let mut record = manifest
        .to_pieces()
        .expect("the manifest is within its limits")[0]
        .split_off(20);
    record.extend(b"something new");
    assert_eq!(read(&pieces_of(&record)), Ok(Some(manifest)));
}

proptest! {
    #[test]
    fn whatever_the_paths_are_their_places_are_clean_and_apart(
        paths in proptest::collection::vec(r"[aAbB./:\\ ()2\u{202E}é]{0,8}", 0..12)
    ) {
        let places = baton_content::path::clean_paths(paths.iter().map(String::as_str));
        let folded: Vec<String> = places.iter().map(|place| place.to_lowercase()).collect();
        for (at, place) in folded.iter().enumerate() {
            prop_assert!(baton_content::path::is_clean(&places[at]), "{:?}", places[at]);
            for (other, another) in folded.iter().enumerate().filter(|(other, _)| *other != at) {
                prop_assert!(place != another && !another.starts_with(&format!("{place}/")), "{at} and {other} of {places:?}");
            }
        }
        let again = baton_content::path::clean_paths(places.iter().map(String::as_str));
        prop_assert_eq!(&again, &places, "what is clean stays as it is");
    }

    #[test]
    fn blocks_and_offsets_agree_with_counting_byte_by_byte(
        size in 0u64..3 * 1024 * 1024, first in 0u32..10, start in 0u64..4 * 1024 * 1024, len in 0u64..40_000
    ) {
        let entry = Entry { first_piece: PieceIndex(first), ..Entry::new("x", size) };
        let mut naive = std::collections::BTreeSet::new();
        for byte in start..(start + len).min(size) {
            naive.insert((first + (byte / 1_048_576) as u32, (byte % 1_048_576 / 16_384) as u8));
        }
        let ours: Vec<_> = entry.blocks(start..start + len).flat_map(|(piece, mask)| mask.iter().map(move |block| (piece.index.0, block.0))).collect();
        prop_assert_eq!(&ours, &naive.into_iter().collect::<Vec<_>>());
        for (piece, mask) in entry.blocks(start..start + len) {
            prop_assert!(entry.has_piece(piece));
            for block in mask.iter() {
                let range = entry.block_range(piece, block).expect("a block of the file");
                prop_assert_eq!(range.start, u64::from(piece.index.0 - first) * 1_048_576 + u64::from(block.0) * 16_384);
                prop_assert!(range.start < range.end && range.end <= size && range.start < start + len && range.end > start);
            }
        }
    }

    #[test]
    fn the_blocks_of_a_file_cover_it_once(size in 0u64..5 * 1024 * 1024) {
        let entry = Entry { first_piece: PieceIndex(3), ..Entry::new("x", size) };
        let mut next = 0;
        for (piece, mask) in entry.all_blocks() {
            for block in mask.iter() {
                let range = entry.block_range(piece, block).expect("a block of the file");
                prop_assert_eq!(range.start, next);
                next = range.end;
            }
        }
        prop_assert_eq!(next, size);
        prop_assert_eq!(entry.pieces().count(), entry.piece_count() as usize);
    }
}
