//! The path to a target in words: as it is, beside the last good one.

use std::net::IpAddr;

use super::page::{Block, Row, Side, Table};
use super::words::{clock, stamp};
use crate::monitor::paths::{GoodHop, GoodPath, Sight, Sighting};
use crate::probe::{Hop, Path, PathEnd};
use crate::round::Rtt;

/// What a path says about the trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The target answers, by the way it always did as far as that is known.
    Whole,
    /// The first hop at which another router answers than on the last good path.
    Moved { distance: u8, was: String, is: String, reached: bool },
    /// It ends where it used to go on.
    Ends {
        /// The last router that answers.
        last: Option<(u8, String)>,
        /// The one behind it that used to; `None` where that is the target itself.
        missing: Option<(u8, String)>,
    },
    /// A router says that the target cannot be reached: the last one before it, or one further away from it.
    Refused { distance: u8, who: String, reason: String, is_last: bool },
    /// From this hop on all answers take far longer than they did.
    Slow { distance: u8, who: String, now: Rtt, was: Rtt },
}

/// What stands out in `sighting`, where both paths are known.
pub(super) fn finding(sighting: &Sighting) -> Option<Finding> {
    let Sight::Traced { path, .. } = &sighting.now else { return None };
    let good = sighting.good.as_ref();
    let routers = good.map(|good| good.hops.len().saturating_sub(1));
    if let (PathEnd::Refused(reason), Some(last)) = (path.end, path.hops.last()) {
        let who = sighting.name(*last.addresses().first()?);
        let is_last = routers.is_some_and(|routers| usize::from(last.distance) >= routers);
        return Some(Finding::Refused { distance: last.distance, who, reason: reason.to_string(), is_last });
    }
    let reached = path.end == PathEnd::Reached;
    let Some(good) = good else { return reached.then_some(Finding::Whole) };
    if let Some((hop, was)) = path.hops.iter().find_map(|hop| Some((hop, moved(hop, good)?))) {
        let is = sighting.name(*hop.addresses().first()?);
        return Some(Finding::Moved { distance: hop.distance, was: sighting.hop_name(was)?, is, reached });
    }
    if !reached {
        let answered = path.hops.last();
        let missing = good
            .hops
            .iter()
            .filter(|hop| answered.is_none_or(|last| hop.distance > last.distance))
            .find(|hop| !hop.from.is_empty())?;
        let is_target = missing.from.contains(&good.address);
        let last = answered.and_then(|hop| Some((hop.distance, sighting.name(*hop.addresses().first()?))));
        let missing = sighting.hop_name(missing).filter(|_| !is_target).map(|name| (missing.distance, name));
        return Some(Finding::Ends { last, missing });
    }
    Some(delay(path, good, sighting).unwrap_or(Finding::Whole))
}

impl Finding {
    /// The sentence behind "It looks like".
    pub(super) fn suspect(&self) -> Option<String> {
        Some(match self {
            Self::Whole => return None,
            Self::Moved { distance, was, is, reached } => {
                let end = if *reached { "" } else { ", and does not reach the target" };
                format!("the path: hop {distance} is {is} now, not {was}{end}")
            }
            Self::Ends { last: Some((distance, last)), missing: None } => format!(
                "the target, or the line to it: the path is whole up to the last router, hop {distance}, {last}"
            ),
            Self::Ends { last: Some((distance, last)), missing: Some((_, missing)) } => {
                format!("the path behind hop {distance}, {last}: {missing} used to be next, and is silent")
            }
            Self::Ends { last: None, missing: Some((_, missing)) } => {
                format!("the very beginning of the path: {missing} used to be the first hop, and is silent")
            }
            Self::Ends { last: None, missing: None } => "the target, or the line to it".to_owned(),
            Self::Refused { distance, who, reason, is_last: true } => {
                format!(
                    "the target, or the line to it: the last router, hop {distance}, {who}, says {reason}"
                )
            }
            Self::Refused { distance, who, reason, is_last: false } => {
                format!("the path: hop {distance}, {who}, says {reason}")
            }
            Self::Slow { distance, who, now, was } => {
                format!("the path from hop {distance} on, {who}: it answers after {now}, {was} before")
            }
        })
    }
}

/// Both paths, for the reader to see; `to` a target, where the mail is about several.
pub(super) fn block(sighting: &Sighting, to: Option<&str>) -> Block {
    let line = |words: String| {
        let to = to.map(|name| format!("to {name}: ")).unwrap_or_default();
        Block::Facts(vec![("path", format!("{to}{words}"))])
    };
    let (at, path) = match &sighting.now {
        Sight::Traced { at, path, .. } => (at, path),
        Sight::Near => return line("none: the address is this machine's own".to_owned()),
        Sight::Untraced { why } => {
            let mut words = format!("not known: {why}");
            if let Some(good) = &sighting.good {
                let hops: Vec<String> = good.hops.iter().filter_map(|hop| sighting.hop_name(hop)).collect();
                words.push_str(&format!("; on {} it was {}", stamp(good.at), hops.join(", ")));
            }
            return line(words);
        }
    };
    if let ([hop], PathEnd::Reached) = (&path.hops[..], path.end) {
        let median = hop.median().map_or(String::new(), |median| format!(", {median}"));
        let words = format!("direct: no router between this machine and the target{median}");
        return line(words);
    }
    let good = sighting.good.as_ref();
    let beside = match good {
        Some(good) => format!(", beside the last good one of {}", stamp(good.at)),
        None => "; there is none yet to compare it with".to_owned(),
    };
    let to = to.map(|name| format!(" to {name}")).unwrap_or_default();
    let title = format!("The path{to} at {}{beside}", clock(*at));
    Block::Table(Table {
        title,
        sides: vec![Side::Right, Side::Left, Side::Right],
        rows: rows(sighting, path),
    })
}

fn rows(sighting: &Sighting, path: &Path) -> Vec<Row> {
    let good = sighting.good.as_ref();
    let reached = path.end == PathEnd::Reached;
    let slow_from = match finding(sighting) {
        Some(Finding::Slow { distance, .. }) => usize::from(distance),
        _ => usize::MAX,
    };
    let last = path.hops.len();
    let length = good.map_or(last, |good| if reached { last } else { last.max(good.hops.len()) });
    let mut rows: Vec<Row> = (1..=length)
        .map(|distance| {
            let hop = path.hops.get(distance - 1);
            let was = good.and_then(|good| good.hops.get(distance - 1)).filter(|hop| !hop.from.is_empty());
            let is_silent = hop.is_none_or(|hop| hop.answers.is_empty());
            // A silent router in the middle is a shy one: those behind it answer.
            let is_missing = is_silent && !reached && distance > last;
            let is_moved = hop.zip(good).is_some_and(|(hop, good)| moved(hop, good).is_some());
            let is_slow = distance >= slow_from && !is_silent;
            let before = was.and_then(|was| {
                let median = was.median.map_or(String::new(), |median| median.to_string());
                match (is_missing || is_moved, is_slow && was.median.is_some()) {
                    (true, _) => Some(format!("was {}, {median}", sighting.hop_name(was)?)),
                    (false, true) => Some(format!("was {median}")),
                    (false, false) => None,
                }
            });
            let says = match path.end {
                PathEnd::Refused(reason) if distance == last => Some(format!("says {reason}")),
                _ => None,
            };
            let note: Vec<String> = says.into_iter().chain(before).collect();
            let cells = vec![distance.to_string(), who(sighting, hop), took(hop)];
            let is_marked = !note.is_empty();
            Row { cells, note: is_marked.then(|| note.join("; ")), is_marked }
        })
        .collect();
    if let PathEnd::Silent(to) = path.end
        && length < usize::from(to)
    {
        let from = length + 1;
        let cells = vec![format!("{from}-{to}"), "no answer".to_owned(), String::new()];
        rows.push(Row { cells, ..Row::default() });
    }
    rows
}

fn who(sighting: &Sighting, hop: Option<&Hop>) -> String {
    let from: Vec<String> =
        hop.map(Hop::addresses).unwrap_or_default().iter().map(|it| sighting.name(*it)).collect();
    if from.is_empty() { "no answer".to_owned() } else { from.join(" or ") }
}

fn took(hop: Option<&Hop>) -> String {
    hop.and_then(Hop::median).map_or(String::new(), |median| median.to_string())
}

/// The good path's hop in the place of `hop`, where others answer than did then. A path may have branches: one of those
/// known is enough.
fn moved<'a>(hop: &Hop, good: &'a GoodPath) -> Option<&'a GoodHop> {
    let was = good.hops.get(usize::from(hop.distance).checked_sub(1)?)?;
    let is = hop.addresses();
    (!is.is_empty() && !was.from.is_empty() && !is.iter().any(|from| was.from.contains(from))).then_some(was)
}

/// The first hop from which on everybody who answers takes so much longer that this explains what the target takes.
fn delay(path: &Path, good: &GoodPath, sighting: &Sighting) -> Option<Finding> {
    let compared: Vec<(&Hop, Rtt, Rtt)> = path
        .hops
        .iter()
        .zip(&good.hops)
        .filter_map(|(hop, was)| Some((hop, hop.median()?, was.median?)))
        .collect();
    let more = |now: Rtt, was: Rtt| now.as_secs_f64() - was.as_secs_f64();
    let (_, now, was) = compared.last()?;
    let whole = more(*now, *was);
    if now.as_secs_f64() < was.as_secs_f64() * SLOWER || whole < LEAST_DELAY_SECS {
        return None;
    }
    let first =
        compared.iter().rposition(|(_, now, was)| more(*now, *was) < whole / 2.0).map_or(0, |at| at + 1);
    let (hop, now, was) = compared.get(first)?;
    let address: IpAddr = *hop.addresses().first()?;
    Some(Finding::Slow { distance: hop.distance, who: sighting.name(address), now: *now, was: *was })
}

/// A target so many times slower than on its good path, and by so much, is looked for a cause of that.
const SLOWER: f64 = 1.5;
const LEAST_DELAY_SECS: f64 = 0.002;

#[cfg(test)]
mod tests;
