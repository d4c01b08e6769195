//! The rule of imports, read off the sources: which room may know which, who may name which crate, where `unsafe` is
//! allowed and where clocks are read. Whoever breaks it finds the file, the line and the rule here; whoever has a reason
//! changes the tables below, where a reviewer sees it.
//!
//! What is read are the tokens of every file under `src/`, without comments and strings, and without what is compiled
//! for tests only: a test may reach for whatever it needs. `unsafe` is held to its rule in tests too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// Rooms may import those on lower floors only; never those on their own.
const FLOORS: &[(u8, &[&str])] = &[
    (7, &["main"]),
    (6, &["cli"]),
    (5, &["config", "guardian"]),
    (4, &["monitor", "web"]),
    (3, &["archive", "probe", "alert", "graph"]),
    (2, &["round", "history", "rrd", "mail"]),
    (1, &["time", "privileges", "whole"]),
];

/// Who may import a room of its own floor all the same. A history is counted in the round trip times of rounds.
const NEIGHBOURS: &[(&str, &str)] = &[("history", "round")];

/// Who may name a crate: rooms, or single files.
const CRATES: &[(&[&str], &[&str])] = &[
    (&["plotters", "plotters_backend", "tiny_skia", "dejavu", "ab_glyph"], &["graph"]),
    (
        &["lettre", "hyper", "hyper_util", "tokio_rustls", "rustls", "rustls_native_certs", "webpki_roots"],
        &["mail"],
    ),
    (&["tokio"], &["mail", "web", "probe/resolve/dns.rs"]),
    (&["hickory_resolver"], &["probe/resolve/dns.rs"]),
    (&["memmap2"], &["rrd/map.rs"]),
    (&["quick_xml"], &["rrd/restore.rs"]),
    (&["socket2", "etherparse"], &["probe"]),
    (&["toml", "ipnet"], &["config"]),
    (&["clap", "clap_complete", "clap_mangen", "indicatif"], &["cli"]),
    (&["axum"], &["web"]),
    (&["caps"], &["privileges"]),
    (
        &["serde", "serde_json"],
        &[
            "config",
            "alert",
            "cli",
            "web",
            "time",
            "round",
            "mail",
            "monitor/ends.rs",
            "monitor/state.rs",
            "monitor/hush.rs",
            "monitor/status.rs",
            "monitor/control.rs",
            "monitor/paths/store.rs",
            "guardian",
        ],
    ),
];

/// The only room that may know both a round and the archive engine.
const TRANSLATOR: &str = "archive";

/// Who may read a clock: rooms, or single files.
const CLOCK_READERS: &[&str] =
    &["probe", "monitor", "guardian", "web", "cli", "mail/mailer.rs", "mail/courier.rs", "mail/command.rs"];

/// What reads one, as the tokens stand in a row.
const CLOCKS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "clock_gettime",
    "gettimeofday",
    ".elapsed(",
];

/// Which files may allow `unsafe`, and what for.
const UNSAFE: &[(&str, &str)] = &[
    ("time.rs", "localtime_r, which knows the abbreviation of a zone"),
    ("archive/journal/volume.rs", "fsync_volume_np, which is Apple's syncfs"),
    ("rrd/map/region.rs", "the memory map of an archive"),
    ("rrd/map/sigbus.rs", "the handler of SIGBUS, and the page that it lays over a hole"),
    ("mail/command/inherited.rs", "close_range, which marks files to be closed when a program is started"),
    ("mail/command/ended.rs", "waitid, which nix does not have on macOS"),
    (
        "cli/arguments.rs",
        "the arguments where the kernel put them, of which the standard library makes copies",
    ),
    ("cli/run/process.rs", "sigaction, which tells what is ignored where there is no /proc"),
    ("cli/doctor/adjtimex.rs", "adjtimex, which tells whether the clock is synchronised"),
    ("guardian/descriptors.rs", "a descriptor that was inherited, by its number"),
    ("probe/socket/calls.rs", "options of sockets by number, which no safe crate has"),
    (
        "probe/socket/calls/together.rs",
        "recvmmsg and sendmmsg with control messages, which no safe crate has",
    ),
    ("probe/socket/calls/single.rs", "recvmsg and sendmsg with the same, where there are only these"),
];

/// The files of `rrd/`, bottom up. Each may import those of lower rows; those of its own row too, but not in a ring.
/// `mod.rs` is the door and stands above them all.
const ENGINE: &[&[&str]] = &[
    &["error", "at"],
    &["number", "def", "layout", "rpn"],
    &["pdp", "cdp"],
    &["file"],
    &["reading", "holt_winters", "abi"],
    &["create", "update", "fetch", "dump", "restore", "info", "tune", "resize", "xport"],
    &["map"],
];

/// How far above an `unsafe` its argument may begin.
const SAFETY_LINES: usize = 8;

#[test]
fn the_sources_keep_the_rule_of_imports() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(&root.join("src"), "", &mut sources).expect("the sources lie beside the manifest");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let complaints = [check_manifest(&manifest), check(&sources)].concat();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn gather(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            gather(&entry.path(), &format!("{path}/"), sources)?;
        } else if path.ends_with(".rs") {
            sources.push(Source::new(&path, &fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

// The rules.

fn check_manifest(manifest: &str) -> Vec<String> {
    let lints = manifest.split("\n[").find(|section| section.starts_with("lints.rust]")).unwrap_or("");
    let is_denied =
        |line: &str| matches!(line.trim(), r#"unsafe_code = "deny""# | r#"unsafe_code = "forbid""#);
    if lints.lines().any(is_denied) {
        return Vec::new();
    }
    vec![r#"Cargo.toml: [lints.rust] must say unsafe_code = "deny""#.to_owned()]
}

fn check(sources: &[Source]) -> Vec<String> {
    let test_modules: Vec<Vec<String>> = sources.iter().flat_map(Source::test_modules).collect();
    let is_test = |source: &Source| test_modules.iter().any(|module| source.module().starts_with(module));
    let product: Vec<&Source> = sources.iter().filter(|source| !is_test(source)).collect();
    let engine: BTreeSet<&str> = sources.iter().filter_map(Source::engine_file).collect();

    let mut complaints = Vec::new();
    for source in &product {
        let paths = source.paths();
        check_floors(source, &paths, &mut complaints);
        check_crates(source, &paths, &mut complaints);
        check_clocks(source, &mut complaints);
        check_engine(source, &paths, &engine, &mut complaints);
    }
    check_translator(&product, &mut complaints);
    check_engine_rings(&product, &engine, &mut complaints);
    sources.iter().for_each(|source| check_unsafe(source, &mut complaints));
    complaints.dedup();
    complaints
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

fn check_floors(source: &Source, paths: &[Named], complaints: &mut Vec<String>) {
    let room = source.room();
    if room == "lib" {
        return;
    }
    let Some(here) = floor(room) else {
        complaints.push(source.at(1, &format!("unknown room '{room}': say on which floor it stands")));
        return;
    };
    for named in paths {
        let Some(other) = named.room() else { continue };
        if other == room || NEIGHBOURS.contains(&(room, other)) {
            continue;
        }
        let complaint = match floor(other) {
            None => format!("unknown room '{other}': say on which floor it stands"),
            Some(there) if there < here => continue,
            Some(there) if there == here => {
                format!("{room} must not import {other}: siblings on floor {here} never import each other")
            }
            Some(there) => {
                format!("{room} (floor {here}) must not import {other} (floor {there}): arrows go down only")
            }
        };
        complaints.push(source.at(named.line, &complaint));
    }
}

fn check_crates(source: &Source, paths: &[Named], complaints: &mut Vec<String>) {
    for named in paths {
        let Origin::Outside(outside) = &named.origin else { continue };
        let Some(name) = outside.first() else { continue };
        for (crates, owners) in CRATES {
            if crates.contains(&name.as_str()) && !source.is_of(owners) {
                let complaint = format!("only {} may name {name}", owners.join(", "));
                complaints.push(source.at(named.line, &complaint));
            }
        }
    }
}

fn check_clocks(source: &Source, complaints: &mut Vec<String>) {
    if source.is_of(CLOCK_READERS) {
        return;
    }
    for clock in CLOCKS {
        let wanted = tokens(clock);
        for found in source.product.windows(wanted.len()) {
            if found.iter().map(|token| &token.text).eq(wanted.iter().map(|token| &token.text)) {
                let name = clock.trim_matches(['.', '(']);
                complaints.push(source.at(found[0].line, &format!("{name} reads a clock: be told the time")));
            }
        }
    }
}

/// A subcommand is a file of its own and a room by itself, as far as this rule goes: `cli/rrd.rs` serves the engine's
/// verbs, `cli/ping.rs` shows a round.
fn check_translator(product: &[&Source], complaints: &mut Vec<String>) {
    let mut rounds: BTreeMap<&str, (&Source, usize)> = BTreeMap::new();
    let mut engines: BTreeMap<&str, (&Source, usize)> = BTreeMap::new();
    for &source in product {
        let unit = if source.room() == "cli" { source.path.as_str() } else { source.room() };
        if matches!(unit, TRANSLATOR | "round" | "rrd" | "lib") {
            continue;
        }
        for named in source.paths() {
            let Origin::Inside(inside) = &named.origin else { continue };
            let place = (source, named.line);
            match (inside.first().map(String::as_str), inside.get(1).map(String::as_str)) {
                // The module itself, and all that is in it, include it.
                (Some("round"), Some("Round" | "*") | None) => drop(rounds.entry(unit).or_insert(place)),
                (Some("rrd"), _) => drop(engines.entry(unit).or_insert(place)),
                _ => {}
            }
        }
    }
    for (unit, (source, line)) in engines {
        if let Some((other, round)) = rounds.get(unit) {
            let both = format!("{unit} names rrd here and Round in src/{}:{round}", other.path);
            complaints.push(source.at(line, &format!("{both}: only {TRANSLATOR} may know both")));
        }
    }
}

fn row(file: &str) -> Option<usize> {
    ENGINE.iter().position(|row| row.contains(&file))
}

/// The files of the engine that a file of the engine imports; `mod` for what is the door's own.
fn engine_imports<'a>(paths: &'a [Named], engine: &BTreeSet<&str>) -> Vec<(usize, &'a str)> {
    let import = |named: &'a Named| {
        let Origin::Inside(inside) = &named.origin else { return None };
        let file = match inside.as_slice() {
            [room, file, ..] if room == "rrd" && engine.contains(file.as_str()) => file,
            [room, ..] if room == "rrd" => "mod",
            _ => return None,
        };
        Some((named.line, file))
    };
    paths.iter().filter_map(import).collect()
}

fn check_engine(source: &Source, paths: &[Named], engine: &BTreeSet<&str>, complaints: &mut Vec<String>) {
    let Some(file) = source.engine_file() else { return };
    if file == "mod" {
        return;
    }
    let Some(here) = row(file) else {
        complaints.push(source.at(1, "unknown file of rrd/: say in which row it stands"));
        return;
    };
    for (line, other) in engine_imports(paths, engine) {
        if other == "mod" || row(other).is_some_and(|there| there > here) {
            let complaint = format!("{file} must not import {other}, which stands above it in rrd/");
            complaints.push(source.at(line, &complaint));
        }
    }
}

fn check_engine_rings(product: &[&Source], engine: &BTreeSet<&str>, complaints: &mut Vec<String>) {
    let mut edges: BTreeSet<(&str, String)> = BTreeSet::new();
    for source in product {
        let Some(file) = source.engine_file() else { continue };
        for (_, other) in engine_imports(&source.paths(), engine) {
            if other != file && row(other) == row(file) {
                edges.insert((file, other.to_owned()));
            }
        }
    }
    // Whoever imports none of the row, or is imported by none of it, is in no ring.
    let is_loose = |edges: &BTreeSet<(&str, String)>, (from, to): &(&str, String)| {
        !edges.iter().any(|(other, _)| other == to) || !edges.iter().any(|(_, other)| other == from)
    };
    while let Some(edge) = edges.iter().find(|edge| is_loose(&edges, edge)).cloned() {
        edges.remove(&edge);
    }
    for (from, to) in edges {
        complaints
            .push(format!("src/rrd/{from}.rs: imports {to} in a ring: two files of one row know each other"));
    }
}

fn check_unsafe(source: &Source, complaints: &mut Vec<String>) {
    let words: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
    let is_allowed = |at: &usize| {
        words[*at] == "unsafe_code"
            && words[..*at]
                .iter()
                .rev()
                .take_while(|word| **word != "[")
                .any(|word| matches!(*word, "allow" | "expect"))
    };
    let allowed_at = (0..words.len()).find(is_allowed).map(|at| source.tokens[at].line);
    let listed = UNSAFE.iter().find(|(file, _)| *file == source.path);
    match (allowed_at, listed) {
        (Some(line), None) => {
            complaints.push(source.at(line, "allows unsafe_code, and is not on the list of files that may"));
        }
        (None, Some((_, reason))) => {
            let complaint =
                format!("on the list of files that may use unsafe ({reason}), and does not: take it off");
            complaints.push(source.at(1, &complaint));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let mut last = 0;
    for (at, pair) in words.windows(2).enumerate() {
        let line = source.tokens[at].line;
        if matches!(pair, ["unsafe", "{" | "impl"]) && line != last {
            // An argument serves one place: it stands below the use before it.
            let from = last.max(line.saturating_sub(SAFETY_LINES + 1));
            if !source.lines[from..line].iter().any(|line| line.contains("// SAFETY: ")) {
                complaints.push(source.at(line, "unsafe without a SAFETY comment above it"));
            }
            last = line;
        }
    }
}

// Reading a source.

/// A file under `src/`.
struct Source {
    /// Below `src/`.
    path: String,
    lines: Vec<String>,
    tokens: Vec<Token>,
    /// The tokens that are not for tests only.
    product: Vec<Token>,
}

#[derive(Clone)]
struct Token {
    line: usize,
    text: String,
}

/// A path that is named somewhere in a file.
struct Named {
    line: usize,
    origin: Origin,
}

/// Where a path leads.
enum Origin {
    /// Seen from the root of the crate.
    Inside(Vec<String>),
    /// Of another crate, or of something that was imported before.
    Outside(Vec<String>),
}

impl Named {
    /// The room that it is in.
    fn room(&self) -> Option<&str> {
        match &self.origin {
            Origin::Inside(inside) => inside.first().map(String::as_str),
            Origin::Outside(_) => None,
        }
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let product = without_tests(&tokens);
        Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect(), tokens, product }
    }

    /// A complaint about one of its lines.
    fn at(&self, line: usize, complaint: &str) -> String {
        format!("src/{}:{line}: {complaint}", self.path)
    }

    /// The place of the file in the tree of modules, from the crate's root.
    fn module(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod")) || matches!(stem, "main" | "lib") {
            module.pop();
        }
        module
    }

    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or("");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The stem of a file of `rrd/`, or its folder there.
    fn engine_file(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("rrd/")?;
        let first = rest.split('/').next().unwrap_or("");
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Whether one of these rooms or files is, or holds, this one. A file holds the modules in the folder of its name.
    fn is_of(&self, owners: &[&str]) -> bool {
        let holds = |file: &str| {
            let folder = file.strip_suffix(".rs").and_then(|stem| self.path.strip_prefix(stem));
            folder.is_some_and(|rest| rest.starts_with('/'))
        };
        owners.iter().any(|owner| *owner == self.room() || *owner == self.path || holds(owner))
    }

    /// The modules in files of their own that this file declares for tests only.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let declared = |tokens: &[Token]| -> BTreeSet<String> {
            let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
            let names = words.windows(3).filter(|words| words[0] == "mod" && words[2] == ";");
            names.map(|words| words[1].to_owned()).collect()
        };
        let product = declared(&self.product);
        let tests = declared(&self.tokens).into_iter().filter(|name| !product.contains(name));
        tests.map(|name| [self.module(), vec![name]].concat()).collect()
    }

    /// Every path with more than one part, and everything that is imported.
    fn paths(&self) -> Vec<Named> {
        let mut paths = Vec::new();
        let mut module = self.module();
        // The depth of braces at which each inline module around began.
        let mut inline: Vec<usize> = Vec::new();
        let mut depth = 0usize;
        let tokens = &self.product;
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let mut at = 0;
        while at < tokens.len() {
            let before = if at == 0 { "" } else { text(at - 1) };
            match text(at) {
                "{" => {
                    depth += 1;
                    if at >= 2 && text(at - 2) == "mod" {
                        inline.push(depth);
                        module.push(before.to_owned());
                    }
                }
                "}" => {
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        module.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                "use" => {
                    at = read_tree(tokens, at + 1, Vec::new(), &mut |line, path| {
                        paths.push(Named { line, origin: self.resolve(&module, path) });
                    });
                    continue;
                }
                // `pub(in crate::rrd)` says who may see a thing, and imports nothing.
                "in" if before == "(" => {
                    at = read_tree(tokens, at + 1, Vec::new(), &mut |_, _| {});
                    continue;
                }
                word if is_word(word) && text(at + 1) == "::" => {
                    at = read_tree(tokens, at, Vec::new(), &mut |line, path| {
                        paths.push(Named { line, origin: self.resolve(&module, path) });
                    });
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        paths
    }

    fn resolve(&self, module: &[String], mut path: Vec<String>) -> Origin {
        let mut base = match path.first().map(String::as_str) {
            Some("crate" | "latmon") => Vec::new(),
            Some("self" | "super") => module.to_vec(),
            // In a file at the root its modules have no other name.
            Some(room) if module.is_empty() && floor(room).is_some() => return Origin::Inside(path),
            _ => return Origin::Outside(path),
        };
        while let Some(first) = path.first() {
            match first.as_str() {
                "crate" | "latmon" if base.is_empty() => {}
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            path.remove(0);
        }
        base.append(&mut path);
        if base.last().is_some_and(|last| last == "self") {
            base.pop();
        }
        Origin::Inside(base)
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Reads `a::b::{c, d::*}` from `at` on and gives every path in it away; returns where it ends.
fn read_tree(
    tokens: &[Token],
    mut at: usize,
    mut path: Vec<String>,
    give: &mut dyn FnMut(usize, Vec<String>),
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match text(at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while !matches!(text(at), "}" | "") {
                    at = read_tree(tokens, at, path.clone(), give).max(at + 1);
                    if text(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => {
                path.push("*".to_owned());
                give(line, path);
                return at + 1;
            }
            word if is_word(word) => {
                path.push(word.to_owned());
                at += 1;
                if text(at) == "::" {
                    continue;
                }
                give(line, path);
                return if text(at) == "as" && is_word(text(at + 1)) { at + 2 } else { at };
            }
            // `Vec::<u8>`: what follows is no part of the path.
            _ => {
                give(line, path);
                return at;
            }
        }
    }
}

/// Leaves out every item under `#[cfg(test)]`, and all of a file that begins with `#![cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some((is_inner, end)) = test_attribute(tokens, at) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        if is_inner {
            return Vec::new();
        }
        at = end_of_item(tokens, end);
    }
    kept
}

/// Whether an attribute `cfg(test)` begins at `at`; then whether it is an inner one, and where it ends.
fn test_attribute(tokens: &[Token], at: usize) -> Option<(bool, usize)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let is_inner = text(at + 1) == "!";
    let open = at + 1 + usize::from(is_inner);
    if text(at) != "#" || text(open) != "[" || text(open + 1) != "cfg" {
        return None;
    }
    let end = end_of_group(tokens, open);
    let words: Vec<&str> = (open..end).map(text).collect();
    (words.contains(&"test") && !words.contains(&"not")).then_some((is_inner, end))
}

fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "{" => return end_of_group(tokens, at),
            "(" | "[" => at = end_of_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Behind the bracket that closes the one at `open`.
fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = lexer.rest.chars().next() {
        let line = lexer.line;
        if lexer.rest.starts_with("//") {
            lexer.take_until("\n");
        } else if lexer.rest.starts_with("/*") {
            lexer.take_block_comment();
        } else if let Some(prefix) = string_prefix(lexer.rest) {
            lexer.take(prefix.len());
            lexer.take_string(prefix.contains('r'));
        } else if first == '\'' {
            lexer.take_character_or_lifetime();
        } else if first == '_' || first.is_alphanumeric() {
            let raw = lexer.rest.strip_prefix("r#").is_some_and(is_word);
            lexer.take(if raw { 2 } else { 0 });
            let is_part = |c: char| c == '_' || c.is_alphanumeric();
            let end = lexer.rest.find(|c| !is_part(c)).unwrap_or(lexer.rest.len());
            tokens.push(Token { line, text: lexer.take(end).to_owned() });
        } else if lexer.rest.starts_with("::") {
            tokens.push(Token { line, text: lexer.take(2).to_owned() });
        } else {
            let sign = lexer.take(first.len_utf8());
            if !first.is_whitespace() {
                tokens.push(Token { line, text: sign.to_owned() });
            }
        }
    }
    tokens
}

/// What stands before the quotation mark or the number signs of a string that begins here.
fn string_prefix(rest: &str) -> Option<&'static str> {
    ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let Some(rest) = rest.strip_prefix(prefix) else { return false };
        let signs = if prefix.contains('r') { rest.trim_start_matches('#') } else { rest };
        signs.starts_with('"')
    })
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Up to and with `end`, or to the end of the text.
    fn take_until(&mut self, end: &str) {
        let len = self.rest.find(end).map_or(self.rest.len(), |at| at + end.len());
        self.take(len);
    }

    fn take_block_comment(&mut self) {
        let mut depth = 0usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
            } else if let Some(next) = self.rest.chars().next() {
                self.take(next.len_utf8());
            }
            if depth == 0 || self.rest.is_empty() {
                return;
            }
        }
    }

    fn take_string(&mut self, is_raw: bool) {
        let signs = self.rest.len() - self.rest.trim_start_matches('#').len();
        self.take(signs + 1);
        if is_raw {
            return self.take_until(&format!("\"{}", "#".repeat(signs)));
        }
        while let Some(next) = self.rest.chars().next() {
            let escaped = if next == '\\' { self.rest.chars().nth(1).map_or(0, char::len_utf8) } else { 0 };
            self.take(next.len_utf8() + escaped);
            if next == '"' {
                return;
            }
        }
    }

    fn take_character_or_lifetime(&mut self) {
        self.take(1);
        let mut following = self.rest.chars();
        match (following.next(), following.next()) {
            (Some('\\'), Some(escaped)) => {
                self.take(1 + escaped.len_utf8());
                self.take_until("'");
            }
            (Some(character), Some('\'')) => drop(self.take(character.len_utf8() + 1)),
            // A lifetime's name is a word like any other, and harms nobody.
            _ => {}
        }
    }
}

// The check of the checker: it must complain about each breach, and about nothing else.

/// Complaints about made-up files: `(path below src/, text)`.
fn complaints(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources)
}

#[track_caller]
fn allowed(path: &str, text: &str) {
    assert_eq!(complaints(&[(path, text)]), [""; 0], "{path}: {text}");
}

/// Each line of `expected` is a complaint, without the `src/` that begins it.
#[track_caller]
fn refused(path: &str, text: &str, expected: &str) {
    let expected: Vec<String> = expected.lines().map(|line| format!("src/{}", line.trim())).collect();
    assert_eq!(complaints(&[(path, text)]), expected, "{path}: {text}");
}

#[test]
fn arrows_go_down_only() {
    allowed("monitor.rs", "use crate::{alert::Alerts, archive, time::UnixTime};");
    allowed(
        "alert/rule.rs",
        "use super::pattern::Op; use crate::alert::tally::Tally; use crate::round::Rtt;",
    );
    allowed("history.rs", "use crate::round::Rtt;");
    allowed("cli/run.rs", "use latmon::monitor; use crate::cli::out; use super::out;");
    allowed("main.rs", "mod cli; fn main() { cli::run(latmon::config::read()) }");
    allowed("lib.rs", "pub mod time; pub mod monitor; pub use monitor::run;");
    refused(
        "time.rs",
        "#![allow(unsafe_code)]\nfn f() -> crate::round::Rtt { crate::round::Rtt::new(0) }",
        "time.rs:2: time (floor 1) must not import round (floor 2): arrows go down only",
    );
    refused(
        "round.rs",
        "use crate::{\n time,\n alert::{Event, rule::{self, Rule}},\n monitor as m};",
        "round.rs:3: round (floor 2) must not import alert (floor 3): arrows go down only
         round.rs:4: round (floor 2) must not import monitor (floor 4): arrows go down only",
    );
    refused(
        "archive/mod.rs",
        "use super::config::Settings;",
        "archive/mod.rs:1: archive (floor 3) must not import config (floor 5): arrows go down only",
    );
    refused(
        "probe/icmp.rs",
        "fn f() { log!(\"{}\", crate::cli::name()) }",
        "probe/icmp.rs:1: probe (floor 3) must not import cli (floor 6): arrows go down only",
    );
    refused(
        "cli/run.rs",
        "pub use ::latmon::main::x;",
        "cli/run.rs:1: cli (floor 6) must not import main (floor 7): arrows go down only",
    );
}

#[test]
fn siblings_never_import_each_other() {
    refused(
        "graph/smoke.rs",
        "\nuse crate::archive::Settings;",
        "graph/smoke.rs:2: graph must not import archive: siblings on floor 3 never import each other",
    );
    refused(
        "round.rs",
        "use super::history::Row;",
        "round.rs:1: round must not import history: siblings on floor 2 never import each other",
    );
    refused(
        "rrd/mod.rs",
        "use crate::*; use crate::round::Rtt; mod x { use super::super::mail; use super::mail; }",
        "rrd/mod.rs:1: unknown room '*': say on which floor it stands
         rrd/mod.rs:1: rrd must not import round: siblings on floor 2 never import each other
         rrd/mod.rs:1: rrd must not import mail: siblings on floor 2 never import each other",
    );
    refused(
        "mail/mod.rs",
        "use crate::round::Rtt;",
        "mail/mod.rs:1: mail must not import round: siblings on floor 2 never import each other",
    );
}

#[test]
fn a_new_room_must_have_a_floor() {
    refused("cellar.rs", "", "cellar.rs:1: unknown room 'cellar': say on which floor it stands");
    refused("cellar/wine.rs", "", "cellar/wine.rs:1: unknown room 'cellar': say on which floor it stands");
    refused(
        "monitor.rs",
        "use crate::cellar::Wine;",
        "monitor.rs:1: unknown room 'cellar': say on which floor it stands",
    );
}

#[test]
fn a_crate_is_named_in_its_own_room_only() {
    allowed("graph/canvas.rs", "use plotters::prelude::*; use tiny_skia::Pixmap; use dejavu::sans;");
    allowed("mail/smtp.rs", "use lettre::{Message, Transport};");
    allowed("rrd/map.rs", "use memmap2::MmapMut;");
    allowed("rrd/map/region.rs", "#![allow(unsafe_code)] use memmap2::MmapMut;");
    allowed("probe/icmp.rs", "use socket2::Socket; use etherparse::Icmpv4Slice;");
    allowed("config/value.rs", "use toml::Value; use serde::Deserialize;");
    allowed("cli/mod.rs", "#[derive(clap::Parser)] struct Typed;");
    // A word in a comment, in a string or among the parts of a path is not the crate.
    allowed(
        "round.rs",
        "/// lettre::Message\nconst A: &str = \"use lettre::X;\"; /* use /* clap::X */ toml::X */",
    );
    allowed(
        "round.rs",
        "const B: &str = r##\"\"# use toml::X; \"##; const C: char = '\"'; const D: char = '\\'';",
    );
    allowed(
        "round.rs",
        "fn lettre<'a>(toml: &'a str) -> Result<Self, crate::time::toml::Error> { toml.len() }",
    );
    for (path, text, name, owners) in [
        ("monitor.rs", "use plotters::prelude::*;", "plotters", "graph"),
        ("monitor.rs", "use {std::fmt, tiny_skia::Pixmap};", "tiny_skia", "graph"),
        ("archive/mod.rs", "use dejavu;", "dejavu", "graph"),
        ("monitor.rs", "fn f() -> ::lettre::Message { g() }", "lettre", "mail"),
        ("rrd/mod.rs", "use memmap2 as map;", "memmap2", "rrd/map.rs"),
        ("monitor.rs", "fn f() { send(socket2::Socket::new()?) }", "socket2", "probe"),
        ("mail/smtp.rs", "use etherparse::*;", "etherparse", "probe"),
        ("cli/run.rs", "use toml::Value;", "toml", "config"),
        ("config.rs", "use clap::Parser;", "clap", "cli"),
        ("main.rs", "use clap::Parser;", "clap", "cli"),
        (
            "history.rs",
            "#[derive(serde::Serialize)] struct X;",
            "serde",
            "config, alert, cli, web, time, round, mail, monitor/ends.rs, monitor/state.rs, monitor/hush.rs, monitor/status.rs, monitor/control.rs, monitor/paths/store.rs, guardian",
        ),
    ] {
        refused(path, text, &format!("{path}:1: only {owners} may name {name}"));
    }
}

#[test]
fn only_the_archive_knows_both_rounds_and_the_engine() {
    allowed("archive/mod.rs", "use crate::{round::Round, rrd::Rrd};");
    allowed("monitor.rs", "use crate::round::Round;");
    allowed("monitor.rs", "use crate::{round::Rtt, rrd::Error};");
    let (shows, verbs) =
        (("cli/ping.rs", "use latmon::round::Round;"), ("cli/rrd.rs", "use latmon::rrd::Rrd;"));
    assert_eq!(complaints(&[shows, verbs]), [""; 0]);
    for text in ["Round", "{Fault, Round}", "*", "{self, Ping}"] {
        refused(
            "cli/rrd.rs",
            &format!("use latmon::rrd::Rrd;\nuse latmon::round::{text};"),
            "cli/rrd.rs:1: cli/rrd.rs names rrd here and Round in src/cli/rrd.rs:2: only archive may know both",
        );
    }
    assert_eq!(
        complaints(&[("graph/a.rs", "use crate::rrd;"), ("graph/b.rs", "\nuse crate::round::Round;")]),
        ["src/graph/a.rs:1: graph names rrd here and Round in src/graph/b.rs:2: only archive may know both"]
    );
}

#[test]
fn unsafe_is_listed_and_argued() {
    let argued = "#![allow(unsafe_code)]\nfn f() {\n // SAFETY: it is so.\n let x =\n unsafe { g() };\n}";
    allowed("rrd/map/region.rs", argued);
    refused(
        "rrd/file.rs",
        argued,
        "rrd/file.rs:1: allows unsafe_code, and is not on the list of files that may",
    );
    refused(
        "graph/canvas.rs",
        "\n#[cfg(test)] mod tests { #![expect(dead_code, unsafe_code)] }",
        "graph/canvas.rs:2: allows unsafe_code, and is not on the list of files that may",
    );
    refused(
        "time.rs",
        "",
        "time.rs:1: on the list of files that may use unsafe (localtime_r, which knows the abbreviation of a zone), \
         and does not: take it off",
    );
    refused(
        "rrd/map/region.rs",
        &format!("{argued}\nfn f() {{ unsafe {{ g() }} }}\nunsafe impl Send for X {{}}"),
        "rrd/map/region.rs:7: unsafe without a SAFETY comment above it
         rrd/map/region.rs:8: unsafe without a SAFETY comment above it",
    );
    let far = format!("#![allow(unsafe_code)]\n// SAFETY: too far.{}unsafe {{ g() }}", "\n".repeat(9));
    refused("rrd/map/region.rs", &far, "rrd/map/region.rs:11: unsafe without a SAFETY comment above it");
    for lints in ["", "[lints.rust]\nunsafe_code = \"warn\"", "[lints.clippy]\nunsafe_code = \"deny\""] {
        assert_eq!(check_manifest(&format!("[package]\n\n{lints}\n\n[features]")).len(), 1, "{lints}");
    }
    assert_eq!(check_manifest("[package]\n\n[lints.rust]\nunsafe_code = \"deny\"\n"), [""; 0]);
}

#[test]
fn clocks_are_read_at_the_edge() {
    for path in
        ["probe/clock.rs", "monitor.rs", "monitor/mod.rs", "cli/ping.rs", "web/mod.rs", "mail/mailer.rs"]
    {
        allowed(path, "fn f() { Instant::now(); SystemTime::now(); start.elapsed(); }");
    }
    allowed(
        "alert/mod.rs",
        "fn f(now: UnixTime) { let now = now; let elapsed = self.elapsed; Instant::from(now) }",
    );
    for (call, said) in [
        ("std::time::SystemTime::now()", "SystemTime::now"),
        ("Instant::now()", "Instant::now"),
        ("map(Instant::now)", "Instant::now"),
        ("chrono::Utc::now()", "Utc::now"),
        ("Local::now()", "Local::now"),
        ("libc::clock_gettime(0, &mut x)", "clock_gettime"),
        ("start.elapsed()", "elapsed"),
    ] {
        for path in ["alert/mod.rs", "mail/mod.rs", "archive/mod.rs", "config.rs"] {
            let text = format!("fn f() {{\n {call} }}");
            let expected = format!("{path}:2: {said} reads a clock: be told the time");
            refused(path, &text, &expected);
        }
    }
}

#[test]
fn the_engines_files_keep_their_order() {
    let file = ("rrd/file.rs", "use super::layout::Layout;");
    let door = ("rrd/mod.rs", "mod file; mod layout; pub use file::Rrd; use self::layout::X;");
    let layout =
        ("rrd/layout.rs", "use crate::rrd::def::Ds; use crate::time::Step; use crate::rrd::error::Fault;");
    let def = ("rrd/def.rs", "");
    let error = ("rrd/error.rs", "pub(in crate::rrd) struct X; pub(in super::super) struct Y;");
    assert_eq!(complaints(&[file, door, layout, def, error]), [""; 0]);
    assert_eq!(
        complaints(&[
            file,
            door,
            ("rrd/layout.rs", "use super::file::Rrd;"),
            ("rrd/def.rs", "\nuse crate::rrd::Rrd;")
        ]),
        [
            "src/rrd/layout.rs:1: layout must not import file, which stands above it in rrd/",
            "src/rrd/def.rs:2: def must not import mod, which stands above it in rrd/"
        ]
    );
    assert_eq!(
        complaints(&[
            layout,
            error,
            ("rrd/def.rs", "use super::layout::X;"),
            ("rrd/number.rs", "use super::def::X;")
        ]),
        [
            "src/rrd/def.rs: imports layout in a ring: two files of one row know each other",
            "src/rrd/layout.rs: imports def in a ring: two files of one row know each other"
        ]
    );
    refused("rrd/cache.rs", "", "rrd/cache.rs:1: unknown file of rrd/: say in which row it stands");
}

#[test]
fn what_is_for_tests_only_may_reach_for_what_it_needs() {
    let reaches = "use crate::archive::Settings; use lettre::Message; fn f() { Instant::now() }";
    for text in [
        format!("#[cfg(test)]\nmod tests {{ {reaches} fn g() {{ }} }}"),
        format!("#[cfg(all(test, unix))] #[allow(dead_code)] fn f(x: [u8; 2]) {{ {reaches} }}"),
        format!("#![cfg(test)] {reaches}"),
        "#[cfg(test)] use crate::archive::Settings;".to_owned(),
    ] {
        allowed("round.rs", &text);
    }
    assert_eq!(
        complaints(&[("alert/mod.rs", "#[cfg(test)]\nmod tests;"), ("alert/tests.rs", reaches)]),
        [""; 0]
    );
    // What follows them is held to the rule again.
    let archive = "round.rs:1: round (floor 2) must not import archive (floor 3): arrows go down only";
    refused("round.rs", "#[cfg(test)] mod tests { } use crate::archive::X;", archive);
    refused("round.rs", "#[cfg(test)] use crate::graph::X; use crate::archive::X;", archive);
    refused("round.rs", "#[cfg(not(test))] use crate::archive::X;", archive);
}
