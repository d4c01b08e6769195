//! When what is tried again. There is no clock in here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::outbox::Waiting;

/// The pauses between attempts. Trouble with the server holds up everything, so that the mails keep their order; a mail
/// that is refused, or that fails again and again, steps aside and lets the others pass.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Failures in a row, of whatever mail.
    failures: u32,
    resume: Option<Instant>,
    /// Mails that failed, by their files.
    troubled: HashMap<PathBuf, Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    until: Option<Instant>,
}

/// What a failure means for those that wait behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The mail stepped aside: go on with the next one.
    GoOn,
    /// All wait.
    Pause,
}

impl Retry {
    /// A new attempt on all that wait: pauses that are over are forgotten, and so are the mails that are gone.
    pub(super) fn begin(&mut self, waiting: &[Waiting], now: Instant) {
        self.resume = self.resume.filter(|resume| now < *resume);
        self.troubled.retain(|path, _| waiting.iter().any(|mail| mail.path == *path));
        for trouble in self.troubled.values_mut() {
            trouble.until = trouble.until.filter(|until| now < *until);
        }
    }

    /// True while everything waits.
    pub(super) fn is_pausing(&self, now: Instant) -> bool {
        self.resume.is_some_and(|resume| now < resume)
    }

    /// True while this mail waits aside.
    pub(super) fn is_aside(&self, mail: &Path, now: Instant) -> bool {
        self.troubled.get(mail).and_then(|trouble| trouble.until).is_some_and(|until| now < until)
    }

    /// When to try again without being asked; `None` where nothing waits for another attempt.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resume.or(self.first_aside())
    }

    /// When the first of the mails that wait aside is tried again.
    pub(super) fn first_aside(&self) -> Option<Instant> {
        self.troubled.values().filter_map(|trouble| trouble.until).min()
    }

    /// A mail was taken.
    pub(super) fn succeeded(&mut self, mail: &Path) {
        self.failures = 0;
        self.resume = None;
        self.troubled.remove(mail);
    }

    /// There was no session to be had: that is no mail's fault.
    pub(super) fn no_session(&mut self, now: Instant) {
        self.failures += 1;
        self.resume = now.checked_add(pause(self.failures));
    }

    /// The server refused this mail for good. It may be the mail, or a setting that somebody mends meanwhile.
    pub(super) fn refused(&mut self, mail: &Path, now: Instant) -> Next {
        self.troubled.entry(mail.to_owned()).or_default().until = now.checked_add(LONGEST);
        Next::GoOn
    }

    /// A session broke or the server was busy while it was given this mail.
    pub(super) fn failed(&mut self, mail: &Path, now: Instant) -> Next {
        let trouble = self.troubled.entry(mail.to_owned()).or_default();
        trouble.failures += 1;
        if pause(trouble.failures) < LONGEST {
            self.no_session(now);
            return Next::Pause;
        }
        trouble.until = now.checked_add(LONGEST);
        Next::GoOn
    }

    /// Everything may be tried at once again, for the last time.
    pub(super) fn last_chance(&mut self) {
        *self = Self::default();
    }
}

/// The pause after so many failures in a row: it doubles, up to a bound.
fn pause(failures: u32) -> Duration {
    SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::super::outbox::Kind;
    use super::*;

    #[test]
    fn pauses_double_from_five_seconds_to_five_minutes() {
        let pauses: Vec<u64> = (1..=9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }

    #[test]
    fn a_busy_server_holds_up_all_until_it_takes_one() {
        let (start, mail) = (Instant::now(), Path::new("a"));
        let mut retry = Retry::default();
        assert_eq!(retry.failed(mail, start), Next::Pause);
        assert!(retry.is_pausing(start + Duration::from_millis(4999)));
        assert!(!retry.is_pausing(start + SHORTEST), "and then it is tried again");
        assert_eq!(retry.failed(mail, start), Next::Pause);
        assert_eq!(retry.next(), Some(start + 2 * SHORTEST));
        retry.succeeded(mail);
        assert_eq!(retry.next(), None);
        assert_eq!(retry.failed(mail, start), Next::Pause);
        assert_eq!(retry.next(), Some(start + SHORTEST), "the pauses begin anew");
    }

    #[test]
    fn a_refused_mail_steps_aside_for_the_longest_pause() {
        let (start, mail) = (Instant::now(), Path::new("a"));
        let mut retry = Retry::default();
        assert_eq!(retry.refused(mail, start), Next::GoOn);
        assert!(retry.is_aside(mail, start) && !retry.is_pausing(start));
        assert!(!retry.is_aside(Path::new("b"), start));
        assert_eq!(retry.next(), Some(start + LONGEST));
        assert!(!retry.is_aside(mail, start + LONGEST));
    }

    /// Otherwise the mailer would wake at once for ever for a mail that somebody took out of the folder.
    #[test]
    fn what_is_gone_or_over_wakes_nobody() {
        let (start, path) = (Instant::now(), Path::new("a"));
        let mut retry = Retry::default();
        retry.failed(path, start);
        retry.refused(path, start);
        retry.begin(&[], start + SHORTEST);
        assert_eq!(retry.next(), None);
        retry.refused(path, start);
        let mail = Waiting {
            path: path.to_owned(),
            since: crate::time::UnixTime::from_secs(0),
            kind: Kind::Mail,
            key: "a".into(),
        };
        retry.begin(std::slice::from_ref(&mail), start);
        assert_eq!(retry.next(), Some(start + LONGEST), "it is still aside");
        retry.begin(&[mail], start + LONGEST);
        assert_eq!(retry.next(), None);
    }

    /// A mail at which a virus scanner crashes each time must not hold up the others for ever.
    #[test]
    fn a_mail_that_fails_again_and_again_lets_the_others_pass() {
        let (start, mail) = (Instant::now(), Path::new("a"));
        let mut retry = Retry::default();
        for _ in 0..6 {
            assert_eq!(retry.failed(mail, start), Next::Pause);
        }
        assert_eq!(retry.failed(mail, start), Next::GoOn);
        assert!(retry.is_aside(mail, start));
    }
}
