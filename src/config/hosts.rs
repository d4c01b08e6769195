//! Targets out of plain lists (`targets_file`) and out of networks (`cidr`).

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::error::{Error, one_line};
use super::file::Preferences;
use super::kept;
use super::origin::{Origin, Setting};
use super::read::read;
use super::targets::Candidates;
use super::value;

/// Adds the targets of a list: `NAME HOST` or `HOST` in a line, `#` before comments. Their names begin with `prefix`.
pub(super) fn add_list(
    targets: &mut Candidates,
    path: &Path,
    shown: &Path,
    named_by: &Origin,
    prefix: &str,
    said: &Arc<Preferences>,
) -> Result<(), Error> {
    let bytes = read(path, shown, named_by, MOST_BYTES)?.bytes;
    let shown: Arc<Path> = shown.into();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let at = Origin::File { path: Arc::clone(&shown), line: number };
        let Ok(line) = str::from_utf8(line) else { return Err(Error::NotUtf8 { at, key: "" }) };
        let text = line.split_once('#').map_or(line, |(text, _comment)| text);
        let mut words = text.split_whitespace();
        let (name, host) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(host), None, _) => (host, host),
            (Some(name), Some(host), None) => (name, host),
            (Some(_), Some(_), Some(_)) => return Err(Error::ListLine { at, text: one_line(text.trim()) }),
        };
        let host = value::host(host).map_err(|wanted| Error::value(&at, "host", host, wanted))?;
        targets.add(&format!("{prefix}{name}"), &host, &at, said)?;
    }
    Ok(())
}

/// The lists that a setting names: itself, or, where it is a folder, every `.txt` and `.list` in it, by their names.
pub(super) fn lists(folder: &Path, named: &Setting<String>) -> Result<Vec<PathBuf>, Error> {
    let path = folder.join(&named.value);
    kept::listed(&path, || list(&path, named))
}

fn list(path: &Path, named: &Setting<String>) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| Error::Read {
        named_by: named.origin.clone(),
        path: path.to_owned(),
        reason: error.kind(),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_list = file.extension().is_some_and(|ending| ending == "txt" || ending == "list");
        if is_list && !hidden && file.is_file() {
            if found.len() == MOST_LISTS {
                return Err(Error::TooManyLists { at: named.origin.clone(), max: MOST_LISTS });
            }
            found.push(file);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The hosts of a network: all its addresses, but for the network's own and the broadcast one of an IPv4 network that is
/// larger than two addresses.
pub(super) fn network(text: &str, at: &Origin) -> Result<impl Iterator<Item = IpAddr> + use<>, Error> {
    let Ok(network) = text.trim().parse::<IpNet>() else {
        return Err(Error::value(at, "cidr", text, "write a network, as 192.0.2.0/28 or 2001:db8::/120"));
    };
    if network.trunc() != network {
        let (text, meant) = (one_line(text).into(), network.trunc().to_string().into());
        return Err(Error::HostBits { at: at.clone(), text, meant });
    }
    let host_bits = network.max_prefix_len() - network.prefix_len();
    if host_bits > MOST_HOST_BITS {
        let max = 1 << MOST_HOST_BITS;
        return Err(Error::LargeNetwork { at: at.clone(), network: network.to_string().into(), max });
    }
    Ok(network.hosts())
}

/// A hundred thousand targets with long names fit.
const MOST_BYTES: u64 = 32 << 20;
const MOST_LISTS: usize = 10_000;
/// 65,536 addresses.
const MOST_HOST_BITS: u8 = 16;
