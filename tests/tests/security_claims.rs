//! SECURITY.md names a test behind each claim; each of them must exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_security_md_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository");
    let mut sources = String::new();
    for room in [
        "content",
        "swarm",
        "signal-protocol",
        "remote",
        "signal-server",
        "client-wasm",
        "tests",
    ] {
        for folder in ["src", "tests"] {
            read_rust(&root.join(room).join(folder), &mut sources);
        }
    }
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md is here");
    let is_test_name = |word: &&str| {
        word.contains('_')
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let names: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(is_test_name)
        .collect();
    assert!(names.len() > 30);
    for name in names {
        assert!(
            sources.contains(&format!("fn {name}(")),
            "{name} is no test"
        );
    }
}

fn read_rust(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_rust(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            *sources += &fs::read_to_string(&path).unwrap_or_default();
        }
    }
}
