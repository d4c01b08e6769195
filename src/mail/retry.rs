//! When what is tried again. There is no clock in here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Address;
use super::outbox::Waiting;
use super::patience::{LONGEST, REFUSED, SHORTEST, pause};

/// The pauses between attempts. Trouble with the server holds up everything. What it does not want, for one recipient or
/// for all of one mail, steps aside and lets the others pass, and so does a mail at which the session breaks again and
/// again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Failures in a row, of whatever mail.
    failures: u32,
    resume: Option<Instant>,
    /// How often in a row the session broke at a mail.
    broken: HashMap<PathBuf, u32>,
    /// Who does not get which mail yet.
    aside: HashMap<(PathBuf, Address), Aside>,
}

/// A mail that waits aside for one recipient.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    failures: u32,
    /// When it is tried again.
    until: Option<Instant>,
    /// It was not the server's answer that sent it there, but a broken session.
    is_broken: bool,
    /// It was refused for good.
    pub(super) is_for_good: bool,
    /// The last failure in one line.
    why: String,
    /// The same for the mail's reader.
    pub(super) hindrance: String,
}

/// What a failure means for those that wait behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The mail stepped aside: go on with the next one.
    GoOn,
    /// All wait.
    Pause,
}

/// Why a recipient does not get a mail yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 5xx. It may be the address, or a setting, that somebody mends meanwhile.
    ForGood,
    /// 4xx.
    ForNow,
    /// None: the session broke.
    Broken,
}

impl Retry {
    /// A new attempt on all that wait: pauses that are over are forgotten, and so are the mails that are gone.
    pub(super) fn begin(&mut self, waiting: &[Waiting], now: Instant) {
        let is_there = |path: &PathBuf| waiting.iter().any(|mail| mail.path == *path);
        self.resume = self.resume.filter(|resume| now < *resume);
        self.broken.retain(|path, _| is_there(path));
        self.aside.retain(|(path, _), _| is_there(path));
        for aside in self.aside.values_mut() {
            aside.until = aside.until.filter(|until| now < *until);
        }
    }

    /// True while everything waits.
    pub(super) fn is_pausing(&self, now: Instant) -> bool {
        self.resume.is_some_and(|resume| now < resume)
    }

    /// True while this mail waits aside for this recipient.
    pub(super) fn is_aside(&self, mail: &Path, to: &Address, now: Instant) -> bool {
        self.of(mail, to).and_then(|aside| aside.until).is_some_and(|until| now < until)
    }

    /// What is known of a mail that this recipient did not get so far.
    pub(super) fn of(&self, mail: &Path, to: &Address) -> Option<&Aside> {
        self.aside.get(&(mail.to_owned(), to.clone()))
    }

    /// When to try again without being asked; `None` where nothing waits for another attempt.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resume.or(self.first_aside())
    }

    /// When the first of the mails that wait aside is tried again.
    pub(super) fn first_aside(&self) -> Option<Instant> {
        self.aside.values().filter_map(|aside| aside.until).min()
    }

    /// The server took a mail for this recipient.
    pub(super) fn taken(&mut self, mail: &Path, to: &Address) {
        self.is_well();
        self.broken.remove(mail);
        self.aside.remove(&(mail.to_owned(), to.clone()));
    }

    /// The server is there and answers.
    pub(super) fn is_well(&mut self) {
        self.failures = 0;
        self.resume = None;
    }

    /// There was no session to be had, or none that is of use: that is no mail's fault.
    pub(super) fn no_session(&mut self, now: Instant) {
        self.failures += 1;
        self.resume = now.checked_add(pause(self.failures));
    }

    /// Somebody else is at it: look again soon.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.resume = now.checked_add(SHORTEST);
    }

    /// The mail steps aside for this recipient: `why` in one line, and as the `hindrance` for its reader.
    pub(super) fn step_aside(
        &mut self,
        (mail, to): (&Path, &Address),
        answer: Answer,
        (why, hindrance): (String, String),
        now: Instant,
    ) {
        let failures = self.of(mail, to).map_or(0, |aside| aside.failures) + 1;
        let wait = match answer {
            Answer::ForGood => REFUSED,
            Answer::ForNow => pause(failures),
            Answer::Broken => LONGEST,
        };
        let until = now.checked_add(wait);
        let (is_broken, is_for_good) = (answer == Answer::Broken, answer == Answer::ForGood);
        let aside = Aside { failures, until, is_broken, is_for_good, why, hindrance };
        self.aside.insert((mail.to_owned(), to.clone()), aside);
    }

    /// A session broke while it was given this mail; when it is to go on, the mail has to step aside.
    pub(super) fn broke(&mut self, mail: &Path, now: Instant) -> Next {
        let broken = self.broken.entry(mail.to_owned()).or_default();
        *broken += 1;
        if pause(*broken) >= LONGEST {
            return Next::GoOn;
        }
        self.no_session(now);
        Next::Pause
    }

    /// The way to the server may be there again: what only waited for that may be tried at once.
    pub(super) fn route_is_back(&mut self) {
        self.is_well();
        self.broken.clear();
        self.aside.retain(|_, aside| !aside.is_broken);
    }

    /// Whether anything waits for the server, and not only for what it said of a mail.
    pub(super) fn waits_for_route(&self) -> bool {
        self.resume.is_some() || self.aside.values().any(|aside| aside.is_broken)
    }

    /// All wait until `then`.
    pub(super) fn resume_at(&mut self, then: Instant) {
        self.resume = Some(then);
    }

    /// Everything may be tried at once again.
    pub(super) fn another_chance(&mut self) {
        self.is_well();
        self.broken.clear();
        self.aside.values_mut().for_each(|aside| aside.until = None);
    }

    /// This mail may.
    pub(super) fn another_chance_for(&mut self, mail: &Path) {
        self.is_well();
        self.broken.remove(mail);
        self.aside.iter_mut().filter(|((path, _), _)| path == mail).for_each(|(_, aside)| aside.until = None);
    }

    /// Who may not have this mail, and what the server said.
    pub(super) fn refused(&self, mail: &Path) -> Vec<(Address, String)> {
        let of_mail = self.aside.iter().filter(|((path, _), aside)| path == mail && aside.is_for_good);
        of_mail.map(|((_, to), aside)| (to.clone(), aside.why.clone())).collect()
    }

    /// Who does not get which mail yet, and why.
    pub(super) fn reasons(&self) -> HashMap<PathBuf, Vec<(Address, String)>> {
        let mut reasons: HashMap<PathBuf, Vec<(Address, String)>> = HashMap::new();
        for ((path, to), aside) in &self.aside {
            reasons.entry(path.clone()).or_default().push((to.clone(), aside.why.clone()));
        }
        reasons.values_mut().for_each(|recipients| recipients.sort());
        reasons
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::outbox::Kind;
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn said() -> (String, String) {
        ("550 no such user".into(), "the mail server answered 550".into())
    }

    fn waiting(path: &Path) -> Waiting {
        Waiting {
            path: path.to_owned(),
            since: crate::time::UnixTime::from_secs(0),
            kind: Kind::Mail,
            key: "a".into(),
        }
    }

    #[test]
    fn pauses_double_from_five_seconds_to_five_minutes() {
        let pauses: Vec<u64> = (1..=9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }

    #[test]
    fn a_server_that_is_away_holds_up_all_until_it_takes_one() {
        let (start, mail, anna) = (Instant::now(), Path::new("a"), address("anna@example.org"));
        let mut retry = Retry::default();
        assert_eq!(retry.broke(mail, start), Next::Pause);
        assert!(retry.is_pausing(start + Duration::from_millis(4999)));
        assert!(!retry.is_pausing(start + SHORTEST), "and then it is tried again");
        retry.no_session(start);
        assert_eq!(retry.next(), Some(start + 2 * SHORTEST));
        retry.taken(mail, &anna);
        assert_eq!(retry.next(), None);
        retry.no_session(start);
        assert_eq!(retry.next(), Some(start + SHORTEST), "the pauses begin anew");
        retry.route_is_back();
        assert_eq!(retry.next(), None);
    }

    #[test]
    fn what_one_recipient_may_not_have_steps_aside_for_that_one() {
        let (start, mail) = (Instant::now(), Path::new("a"));
        let [anna, bob] = ["anna@example.org", "bob@example.org"].map(address);
        let mut retry = Retry::default();
        retry.step_aside((mail, &bob), Answer::ForGood, said(), start);
        assert!(retry.is_aside(mail, &bob, start) && !retry.is_pausing(start));
        assert!(!retry.is_aside(mail, &anna, start) && !retry.is_aside(Path::new("b"), &bob, start));
        assert_eq!(retry.next(), Some(start + Duration::from_secs(3600)), "hourly");
        assert!(!retry.is_aside(mail, &bob, start + REFUSED));
        for secs in [5, 10, 20] {
            retry.step_aside((mail, &anna), Answer::ForNow, said(), start);
            assert_eq!(retry.next(), Some(start + Duration::from_secs(secs)), "in growing pauses");
        }
        retry.route_is_back();
        assert!(retry.is_aside(mail, &anna, start), "the route has nothing to do with it");
        retry.another_chance();
        assert!(!retry.is_aside(mail, &anna, start) && !retry.is_aside(mail, &bob, start));
    }

    /// Otherwise the mailer would wake at once for ever for a mail that somebody took out of the folder.
    #[test]
    fn what_is_gone_or_over_wakes_nobody() {
        let (start, path, anna) = (Instant::now(), Path::new("a"), address("anna@example.org"));
        let mut retry = Retry::default();
        retry.broke(path, start);
        retry.step_aside((path, &anna), Answer::ForGood, said(), start);
        retry.begin(&[], start + SHORTEST);
        assert_eq!(retry.next(), None);
        retry.step_aside((path, &anna), Answer::ForGood, said(), start);
        let mail = waiting(path);
        retry.begin(std::slice::from_ref(&mail), start);
        assert_eq!(retry.next(), Some(start + REFUSED), "it is still aside");
        retry.begin(&[mail], start + REFUSED);
        assert_eq!(retry.next(), None);
    }

    /// A mail at which a virus scanner crashes each time must not hold up the others for ever.
    #[test]
    fn a_mail_that_breaks_the_session_again_and_again_lets_the_others_pass() {
        let (start, mail, anna) = (Instant::now(), Path::new("a"), address("anna@example.org"));
        let mut retry = Retry::default();
        for _ in 0..6 {
            assert_eq!(retry.broke(mail, start), Next::Pause);
        }
        assert_eq!(retry.broke(mail, start), Next::GoOn);
        retry.step_aside((mail, &anna), Answer::Broken, said(), start);
        assert!(retry.is_aside(mail, &anna, start));
        retry.route_is_back();
        assert!(!retry.is_aside(mail, &anna, start), "it may have been the line");
    }
}
