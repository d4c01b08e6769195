//! Looks for the paths that notices ask for, those that wait at the same time together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use super::{Desk, Known, NAMES_PATIENCE, Seen, Sight, Sights, is_remote, names};
use crate::probe::{Hop, Path};
use crate::round::Target;
use crate::time::UnixTime;

/// The paths that a notice asks for.
pub(super) struct Look {
    pub(super) key: String,
    /// The places of the targets among those that are watched, and their addresses.
    pub(super) wanted: Vec<(usize, IpAddr)>,
    /// What could be said of others without a look.
    pub(super) known: Sights,
    /// Nobody waits for it any more.
    pub(super) until: Instant,
    pub(super) answer: Sender<Seen>,
}

impl Desk {
    /// Looks for the paths of `first`, and of others that wait.
    pub(super) fn sight(&self, first: Look, looks: &Receiver<Look>) {
        let mut together = vec![first];
        while together.iter().map(|look| look.wanted.len()).sum::<usize>() < TOGETHER
            && let Ok(look) = looks.try_recv()
        {
            together.push(look);
        }
        together.retain(|look| Instant::now() < look.until);
        let wanted: Vec<(usize, IpAddr)> = together.iter().flat_map(|look| look.wanted.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        let at = UnixTime::from(SystemTime::now());
        let mut traced = self.trace(&wanted).into_iter();
        let mut traced: Vec<(Look, Vec<Result<Path, String>>)> = together
            .into_iter()
            .map(|look| {
                let paths = traced.by_ref().take(look.wanted.len()).collect();
                (look, paths)
            })
            .collect();
        let none = HashMap::new();
        // Names are an ornament, and nobody waits for those of another's path.
        let unknown = self.unnamed(&traced);
        let is_all = unknown.is_empty() || !looks.is_empty();
        traced.iter().for_each(|(look, paths)| self.answer(look, paths, &none, (at, is_all)));
        if is_all {
            return;
        }
        traced.retain(|(look, _)| Instant::now() < look.until);
        let patience = traced.iter().map(|(look, _)| look.until.saturating_duration_since(Instant::now()));
        let names = names(unknown, patience.max().unwrap_or_default().min(NAMES_PATIENCE));
        traced.iter().for_each(|(look, paths)| self.answer(look, paths, &names, (at, true)));
    }

    /// Says what was seen to whoever asked.
    fn answer(
        &self,
        look: &Look,
        paths: &[Result<Path, String>],
        names: &HashMap<IpAddr, String>,
        (at, is_all): (UnixTime, bool),
    ) {
        let seen = look.wanted.iter().zip(paths).map(|((place, _), path)| {
            let sight = match path {
                Ok(path) => Sight::Traced { at, path: path.clone(), names: names.clone() },
                Err(why) => Sight::Untraced { why: why.clone() },
            };
            (self.watched[*place].target.name.clone(), sight)
        });
        let sights = seen.chain(look.known.clone()).collect();
        // Who asked may have gone.
        let _ = look.answer.send(Seen { key: look.key.clone(), sights, is_all });
    }

    /// The routers on these paths whose names are not known from good ones.
    fn unnamed(&self, traced: &[(Look, Vec<Result<Path, String>>)]) -> Vec<IpAddr> {
        let known = self.known();
        let mut unnamed = Vec::new();
        for ((place, _), path) in traced.iter().flat_map(|(look, paths)| look.wanted.iter().zip(paths)) {
            let good = known.good.get(&self.watched[*place].target.name);
            let good: Vec<IpAddr> =
                good.iter().flat_map(|good| &good.hops).flat_map(|hop| &hop.from).copied().collect();
            let hops = path.iter().flat_map(|path| &path.hops).flat_map(Hop::addresses);
            unnamed.extend(hops.filter(|address| !good.contains(address)));
        }
        unnamed
    }

    /// The place of a target whose path is to be looked for, and its address; or what is to be said instead. Where it is
    /// to be looked for, that counts.
    pub(super) fn may_look(
        &self,
        target: &Target,
        address: Option<IpAddr>,
    ) -> Result<(usize, IpAddr), Sight> {
        let untraced = |why: &str| Err(Sight::Untraced { why: why.to_owned() });
        let Some(address) = address else { return untraced("the target has no address") };
        if !is_remote(address) {
            return Err(Sight::Near);
        }
        let Some(place) = self.watched.iter().position(|it| *it.target == *target) else {
            return untraced("the target is no longer watched");
        };
        if !self.known().may_ask(Instant::now()) {
            return untraced("too many paths were looked for within this minute");
        }
        Ok((place, address))
    }
}

impl Known {
    /// Whether one more path may be looked for because of an alert; if so, it counts.
    fn may_ask(&mut self, now: Instant) -> bool {
        while self.asked.front().is_some_and(|at| now.duration_since(*at) >= BUDGET_TIME) {
            self.asked.pop_front();
        }
        let may = self.asked.len() < BUDGET;
        if may {
            self.asked.push_back(now);
        }
        may
    }
}

/// So many paths may be looked for because of alerts ..
const BUDGET: usize = 12;
/// .. within this time.
pub(super) const BUDGET_TIME: Duration = Duration::from_secs(60);
/// With so many paths a search is full, but for what the last of those who ask wants besides: the first routers are on all
/// of them, and many (Linux among them) answer no more than six at once.
const TOGETHER: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::PATIENCE;
    use super::*;
    use crate::probe::TraceSettings;

    #[test]
    fn alerts_do_not_flood_the_network_with_traces() {
        let mut known = Known::default();
        let start = Instant::now();
        let asked = (0..100).filter(|_| known.may_ask(start)).count();
        assert_eq!(asked, BUDGET);
        assert!(!known.may_ask(start + BUDGET_TIME - Duration::from_millis(1)));
        assert!(known.may_ask(start + BUDGET_TIME));
    }

    /// Whoever asks while others are looked for gets the path still in time, and its names where nobody else waits.
    #[test]
    fn two_searches_fit_into_the_patience() {
        let TraceSettings { echoes, spacing, timeout, .. } = TraceSettings::default();
        let search = spacing * (u32::from(echoes) - 1) + timeout;
        assert!(search.max(NAMES_PATIENCE) + search < PATIENCE);
    }
}
