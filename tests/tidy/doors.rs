//! A heavy dependency enters through one door, and crates know only the crates below them.

use super::source::SourceFile;

struct Door {
    /// What marks the dependency in code.
    signs: &'static [&'static str],
    /// Paths (files, or folders ending in `/`) that may use it.
    allowed: &'static [&'static str],
    mend: &'static str,
}

const DOORS: [Door; 7] = [
    Door { signs: &["rocksdb::"], allowed: &["storage/src/rocks/"], mend: "Give storage/src/rocks the operation, and call that." },
    Door { signs: &["croaring::"], allowed: &["storage/src/series_set.rs"], mend: "Use SeriesSet; only its own file knows the library." },
    Door { signs: &["openraft::"], allowed: &["raft/src/"], mend: "Only the raft crate speaks to openraft; ask it through its own types." },
    Door {
        signs: &["rustls::", "tokio_rustls::", "webpki::"],
        allowed: &["tls/src/"],
        mend: "Only the tls crate speaks to rustls; ask it for a connection and who is on the other end.",
    },
    Door {
        signs: &["ring::digest", "ring::hmac", "argon2::", "subtle::"],
        allowed: &["src/auth/"],
        mend: "Only src/auth knows how secrets are hashed; ask it who somebody is.",
    },
    Door { signs: &["axum::"], allowed: &["src/http/", "src/http.rs"], mend: "Answer with a plain value; src/http turns it into HTTP." },
    Door {
        signs: &["SystemTime::now", "Utc::now", "Timestamp::now", "Zoned::now"],
        allowed: &["src/clock.rs", "tests/", "jepsen/", "bench/"],
        mend: "Take the time from crate::clock, or as an argument, so that the code is the same for every clock.",
    },
];

/// Crates that each crate of the house must not name in its manifest, with the reason.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("proto", &["tls", "storage", "raft", "promql", "tern"]),
    ("tls", &["proto", "storage", "raft", "promql", "tern", "tonic", "hyper", "axum"]),
    ("storage", &["proto", "tls", "raft", "promql", "tern", "tokio", "tonic", "openraft", "axum", "hyper"]),
    ("raft", &["promql", "tern", "axum", "rocksdb"]),
    ("promql", &["proto", "tls", "storage", "raft", "tern", "tokio", "tonic", "axum", "rocksdb"]),
];

pub fn breaches(file: &SourceFile) -> Vec<String> {
    let lines = file.code_lines();
    let mut findings = Vec::new();
    for door in &DOORS {
        if door.allowed.iter().any(|allowed| file.path == *allowed || (allowed.ends_with('/') && file.path.starts_with(allowed))) {
            continue;
        }
        for (index, line) in lines.iter().enumerate() {
            if let Some(sign) = door.signs.iter().find(|sign| names(line, sign)) {
                findings.push(format!("{}:{}: `{sign}` belongs behind {}. {}", file.path, index + 1, door.allowed[0], door.mend));
            }
        }
    }
    findings
}

/// Whether the line names the sign as a word of its own, so that `my_rocksdb::` does not count.
fn names(line: &str, sign: &str) -> bool {
    line.match_indices(sign).any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

/// Product dependencies of a manifest that point the wrong way.
pub fn forbidden_dependencies(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, forbidden)) = FORBIDDEN.iter().find(|(owner, _)| *owner == name) else { return Vec::new() };
    let mut section = "";
    let mut findings = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if forbidden.contains(&dependency) {
                findings.push(format!("{name}/Cargo.toml: `{dependency}` is above or beside this crate. Move what needs both upwards."));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        breaches(&SourceFile { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn a_dependency_outside_its_door_is_found() {
        assert_eq!(check("storage/src/head.rs", "use rocksdb::DB;"), 1);
        assert_eq!(check("src/query/fanout.rs", "let now = std::time::SystemTime::now();"), 1);
        assert_eq!(check("src/ingest/json.rs", "use axum::body::Bytes;"), 1);
        assert_eq!(check("src/main.rs", "openraft::Raft::new()"), 1);
        assert_eq!(check("src/http/listener.rs", "use tokio_rustls::TlsAcceptor;"), 1);
    }

    #[test]
    fn the_door_itself_comments_and_other_words_are_fine() {
        assert_eq!(check("storage/src/rocks/mod.rs", "use rocksdb::DB;"), 0);
        assert_eq!(check("storage/src/head.rs", "// rocksdb::DB\nuse my_rocksdb::X;"), 0);
        assert_eq!(check("src/http/mod.rs", "use axum::Router;"), 0);
    }

    #[test]
    fn a_crate_that_looks_up_is_found_but_its_tests_may() {
        let manifest =
            "[package]\nname = \"x\"\n[dependencies]\nbytes.workspace = true\nraft.workspace = true\n[dev-dependencies]\ntokio = \"1\"\n";
        assert_eq!(forbidden_dependencies("storage", manifest).len(), 1);
    }
}
