//! What a program can check about the house: arrows point down, pure rooms stay pure, files stay short.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, lowest first, with the rooms it may import. A room may always import itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("wire", &["types"]),
    ("feed", &["types", "wire"]),
    ("flow", &["types", "wire"]),
    ("deliver", &["types", "wire"]),
    ("consensus", &["types", "wire"]),
    ("ledger", &["types", "wire"]),
    ("meter", &["types", "wire"]),
    ("route", &["types", "wire"]),
    ("schema", &["types", "wire"]),
    ("crdt", &["types", "wire"]),
    ("graph", &["types", "wire", "crdt"]),
    ("node", &["types", "wire", "feed", "flow", "deliver", "route", "schema", "crdt", "consensus", "ledger", "meter"]),
    ("sim", &["types", "wire", "feed", "flow", "deliver", "route", "schema", "crdt", "consensus", "ledger", "node"]),
    ("keys", &["types"]),
    ("config", &["types", "wire", "flow", "route", "meter"]),
    ("store", &["types"]),
    ("driver", &["types", "wire", "feed", "deliver", "consensus", "meter", "node", "store"]),
    ("net", &["types", "wire", "feed", "meter", "node", "config", "driver"]),
    (
        "api",
        &[
            "types", "wire", "keys", "feed", "flow", "deliver", "route", "schema", "crdt", "graph", "ledger", "meter",
            "node", "store", "driver",
        ],
    ),
    (
        "start",
        &["types", "wire", "feed", "consensus", "ledger", "node", "keys", "config", "store", "driver", "net", "api"],
    ),
    (
        "cli",
        &[
            "types", "wire", "feed", "flow", "deliver", "ledger", "meter", "route", "crdt", "graph", "node", "sim",
            "keys", "config", "store", "driver", "net", "api", "start",
        ],
    ),
];

/// Rooms in which nothing blocks, sleeps, draws randomness, reads a clock or iterates in no order.
const PURE: &[&str] = &[
    "types",
    "wire",
    "feed",
    "flow",
    "deliver",
    "consensus",
    "ledger",
    "meter",
    "route",
    "schema",
    "crdt",
    "graph",
    "node",
    "sim",
];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "libp2p::",
    "sled::",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "async fn",
    "getrandom",
    "rand::",
    "println!",
];

/// Lines of one file, its tests not counted.
const LONGEST: usize = 600;

struct Source {
    path: PathBuf,
    room: String,
    /// Code lines with their numbers: comments are blanked.
    lines: Vec<(usize, String)>,
    is_test: bool,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 50, "the sources are not where they were: {}", root.display());
    files.iter().map(|path| read(&root, path)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let inside = path.strip_prefix(root).unwrap();
    let room = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_string();
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().map(|(n, line)| {
        let code = line.trim_start();
        (n + 1, if code.starts_with("//") { String::new() } else { line.to_string() })
    });
    let is_test = inside.iter().any(|part| part == "tests" || part == "tests.rs");
    Source { path: inside.into(), room, lines: lines.collect(), is_test }
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The rooms a line imports: what follows `crate::`.
fn imported(line: &str) -> impl Iterator<Item = String> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].to_string()
    })
}

#[test]
fn arrows_point_down() {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test && s.room != "lib" && s.room != "main") {
        let Some(below) = rooms.get(source.room.as_str()) else {
            wrong.push(format!("{}: a room that tests/it/tidy.rs does not know", source.path.display()));
            continue;
        };
        for (n, line) in &source.lines {
            for room in imported(line).filter(|room| rooms.contains_key(room.as_str())) {
                if room != source.room && !below.contains(&room.as_str()) {
                    wrong.push(format!("{}:{n}: {} may not import {room}", source.path.display(), source.room));
                }
            }
        }
    }
    report(wrong);
}

#[test]
fn pure_rooms_are_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test && PURE.contains(&s.room.as_str())) {
        for (n, line) in &source.lines {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{n}: `{word}` in a pure room", source.path.display()));
            }
        }
    }
    report(wrong);
}

#[test]
fn only_the_network_knows_libp2p_and_only_the_command_line_knows_anyhow() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (n, line) in &source.lines {
            // Addresses in a configuration are checked by the library that will use them.
            let parses = source.path.ends_with("config/check.rs") && line.contains("Multiaddr");
            if line.contains("libp2p::") && source.room != "net" && !parses {
                wrong.push(format!("{}:{n}: libp2p outside net", source.path.display()));
            }
            if line.contains("anyhow") && !["cli", "main"].contains(&source.room.as_str()) {
                wrong.push(format!("{}:{n}: anyhow outside cli", source.path.display()));
            }
        }
    }
    report(wrong);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test && s.room != "sim") {
        let body = source.lines.iter().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        for ((_, before), (n, line)) in std::iter::once(&(0, String::new())).chain(&source.lines).zip(body) {
            let unwraps = line.contains(".unwrap()") || line.contains(".expect(");
            let proved = before.is_empty() && *n > 1;
            if unwraps && !proved {
                wrong.push(format!("{}:{n}: unwrapped without a line above that proves it", source.path.display()));
            }
        }
    }
    report(wrong);
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|s| !s.is_test && s.lines.len() > LONGEST);
    report(long.map(|s| format!("{}: {} lines; split it along its nouns", s.path.display(), s.lines.len())).collect());
}

#[test]
fn every_public_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|s| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&s.path)).unwrap();
        !text.starts_with("//!")
    });
    report(silent.map(|s| format!("{}: begins without saying what it is", s.path.display())).collect());
}

#[test]
fn tests_do_not_sleep_and_none_is_ignored() {
    let mut wrong = Vec::new();
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut files);
    files.extend(
        sources().iter().filter(|s| s.is_test).map(|s| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&s.path)),
    );
    for path in files.iter().filter(|path| !path.ends_with("it/tidy.rs")) {
        for (n, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            for word in ["#[ignore", "thread::sleep", "time::sleep("].iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}` in a test", path.display(), n + 1));
            }
        }
    }
    report(wrong);
}
