//! What the README says of the settings is true, and all that there is to say.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const README: &str = include_str!("../README.md");

/// The settings that the README shows, block by block.
fn blocks() -> Vec<&'static str> {
    README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// `latmon check` in `folder`, with nothing else to say about settings.
fn check(folder: &Path) -> Output {
    let mut latmon = Command::new(env!("CARGO_BIN_EXE_latmon"));
    latmon.arg("check").current_dir(folder).env_clear().env("TZ", "UTC");
    latmon.output().expect("the binary starts")
}

#[test]
fn the_settings_it_shows_are_good_ones() {
    assert!(blocks().len() >= 2, "a short file and a full one");
    for block in blocks() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        // The files that the settings name, and a user that every machine has.
        let settings = block
            .replace("/etc/latmon", place)
            .replace("/var/lib/latmon", place)
            .replace("user = \"latmon\"", "user = \"nobody\"");
        let files = [
            ("latmon.toml", settings.as_str()),
            ("hosts.txt", "printer 192.0.2.77\n"),
            ("smtp-password", "secret"),
            ("chat-token", "secret"),
            ("slack-url", "https://hooks.slack.com/services/secret"),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let checked = check(folder.path());
        assert!(checked.status.success(), "{}\n{block}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// Where a table is asked for a key that it does not have, the error names those that it has.
#[test]
fn it_shows_every_key_there_is() {
    let unknown = "nobody_has_this_key = 1";
    let tables = [
        format!("{unknown}\n[targets]\na = '192.0.2.1'\n"),
        format!("[defaults]\n{unknown}\n"),
        format!("[probe]\n{unknown}\n"),
        format!("[mail]\n{unknown}\n"),
        format!("[mail]\nfrom = 'a@example.org'\n[mail.fallback]\n{unknown}\n"),
        format!("[webhook.a]\n{unknown}\n"),
        format!("[command.a]\n{unknown}\n"),
        format!("[uplink]\n{unknown}\n"),
        format!("[alerts]\n{unknown}\n"),
        format!("[alert.a]\n{unknown}\n"),
        format!("[maintenance.a]\n{unknown}\n"),
        format!("[targets]\na = {{ {unknown} }}\n"),
        format!("[group.a]\n{unknown}\n"),
    ];
    let shown: Vec<&str> = blocks()
        .into_iter()
        .flat_map(|block| block.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    for table in tables {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("latmon.toml"), &table).unwrap();
        let refused = String::from_utf8(check(folder.path()).stderr).unwrap();
        let keys = refused.trim_end().split_once(": there are ").map(|(_, keys)| keys);
        let keys = keys.unwrap_or_else(|| panic!("no list of keys in '{refused}' for\n{table}"));
        for key in keys.split(", ") {
            assert!(shown.contains(&key), "the README shows no '{key}', which there is in\n{table}");
        }
    }
}
