//! When a way is tried again, and with which of the postings that wait for it. There is no clock in here.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::way::Next;

/// What a way that failed waits for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Failures in a row, of whatever posting.
    failures: u32,
    resume: Option<Instant>,
    /// Postings that failed, by their files.
    troubled: HashMap<PathBuf, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    failures: u32,
    /// It waits aside until then, and lets those of other conversations pass.
    until: Option<Instant>,
    conversation: String,
}

impl Patience {
    /// A new attempt on all that `waits`: what is over or gone is forgotten. Returns the conversations that wait aside.
    pub(super) fn begin(&mut self, waits: impl Fn(&Path) -> bool, now: Instant) -> HashSet<String> {
        self.resume = self.resume.filter(|resume| now < *resume);
        self.troubled.retain(|path, _| waits(path));
        for trouble in self.troubled.values_mut() {
            trouble.until = trouble.until.filter(|until| now < *until);
        }
        let aside = self.troubled.values().filter(|trouble| trouble.until.is_some());
        aside.map(|trouble| trouble.conversation.clone()).collect()
    }

    /// True while everything waits.
    pub(super) fn is_pausing(&self, now: Instant) -> bool {
        self.resume.is_some_and(|resume| now < resume)
    }

    /// When to try again without being asked; `None` where nothing waits for another attempt.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resume.or_else(|| self.troubled.values().filter_map(|trouble| trouble.until).min())
    }

    /// True while a posting waits aside.
    pub(super) fn has_some_aside(&self) -> bool {
        self.troubled.values().any(|trouble| trouble.until.is_some())
    }

    /// A posting arrived.
    pub(super) fn succeeded(&mut self, posting: &Path) {
        self.failures = 0;
        self.resume = None;
        self.troubled.remove(posting);
    }

    /// A posting of `conversation` failed. False where all wait now.
    pub(super) fn failed(&mut self, posting: &Path, conversation: &str, next: Next, now: Instant) -> bool {
        let asked = match next {
            Next::Unreached => None,
            Next::WayRefuses => Some(REFUSED),
            Next::Again(asked) => {
                if self.is_beyond_hope(posting, conversation) {
                    self.set_aside(posting, conversation, now + LONGEST);
                    return true;
                }
                asked.map(|asked| asked.min(REFUSED))
            }
            Next::Refused => {
                self.set_aside(posting, conversation, now + REFUSED);
                return true;
            }
        };
        self.pause(asked.unwrap_or_default(), now);
        false
    }

    /// Everything waits for a while, and at least so long.
    pub(super) fn pause(&mut self, least: Duration, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.resume = Some(now + pause(self.failures).max(least));
    }

    /// Everything may be tried at once again.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Counts a failure of a posting; true once it was the last that all wait for.
    fn is_beyond_hope(&mut self, posting: &Path, conversation: &str) -> bool {
        let trouble = self.trouble(posting, conversation);
        trouble.failures += 1;
        pause(trouble.failures) == LONGEST
    }

    fn set_aside(&mut self, posting: &Path, conversation: &str, until: Instant) {
        self.trouble(posting, conversation).until = Some(until);
    }

    fn trouble(&mut self, posting: &Path, conversation: &str) -> &mut Trouble {
        self.troubled.entry(posting.to_owned()).or_insert_with(|| Trouble {
            failures: 0,
            until: None,
            conversation: conversation.to_owned(),
        })
    }
}

/// The pause after so many failures in a row: it doubles, up to a bound.
pub(super) fn pause(failures: u32) -> Duration {
    SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

/// The shortest.
pub(super) const SHORTEST: Duration = Duration::from_secs(5);
/// The longest pause after failures.
pub(super) const LONGEST: Duration = Duration::from_secs(300);
/// How long what was refused waits: it may be taken once somebody has mended a setting.
pub(super) const REFUSED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a";

    fn failed(patience: &mut Patience, posting: &str, next: Next, now: Instant) -> bool {
        patience.failed(Path::new(posting), posting, next, now)
    }

    #[test]
    fn pauses_double_and_heed_what_was_asked_for_within_bounds() {
        let now = Instant::now();
        let mut patience = Patience::default();
        let secs = |patience: &Patience| (patience.next().unwrap() - now).as_secs();
        assert!(!failed(&mut patience, A, Next::Unreached, now));
        assert_eq!(secs(&patience), 5);
        assert!(!failed(&mut patience, A, Next::Again(Some(Duration::from_secs(77))), now));
        assert_eq!(secs(&patience), 77);
        assert!(!failed(&mut patience, A, Next::Again(Some(Duration::from_secs(1))), now));
        assert_eq!(secs(&patience), 20, "no shorter than our own");
        assert!(!failed(&mut patience, A, Next::Again(Some(Duration::from_secs(u64::MAX))), now));
        assert_eq!(secs(&patience), 3600, "no longer than a refusal");
        assert!(!failed(&mut patience, A, Next::WayRefuses, now));
        assert_eq!(secs(&patience), 3600);
        patience.succeeded(Path::new(A));
        assert_eq!(patience.next(), None);
    }

    #[test]
    fn one_that_is_refused_holds_up_its_own_conversation_only() {
        let now = Instant::now();
        let mut patience = Patience::default();
        assert!(failed(&mut patience, A, Next::Refused, now), "the others go on");
        assert!(!patience.is_pausing(now) && patience.has_some_aside());
        assert_eq!(patience.begin(|_| true, now), HashSet::from([A.to_owned()]));
        assert_eq!(patience.begin(|_| true, now + REFUSED), HashSet::new(), "it is tried once an hour");
        failed(&mut patience, A, Next::Refused, now);
        patience.begin(|_| false, now);
        assert_eq!(patience.next(), None, "what is gone wakes nobody");
    }

    #[test]
    fn one_that_fails_again_and_again_lets_the_others_pass() {
        let now = Instant::now();
        let mut patience = Patience::default();
        for _ in 0..6 {
            assert!(!failed(&mut patience, A, Next::Again(None), now));
        }
        assert!(failed(&mut patience, A, Next::Again(None), now));
        for _ in 0..20 {
            assert!(
                !failed(&mut patience, "b", Next::Unreached, now),
                "nobody's fault, so the order is kept"
            );
        }
    }
}
