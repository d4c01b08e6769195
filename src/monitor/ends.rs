//! The ends that a monitor could not tell itself: what killed it, and when. Each is mailed, but a row of them is one mail
//! an hour: `DATA_DIR/ends.json` keeps what is not told yet, whatever else dies.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{letter, posting};
use crate::mail::{self, Outbox};
use crate::time::UnixTime;
use crate::whole;

/// A process of the run that died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// What names its mail, whoever writes that.
    pub key: String,
    /// The run that ended with it, by its beginning.
    pub run: UnixTime,
    /// When it was started.
    pub started: UnixTime,
    /// When it was found dead.
    pub at: UnixTime,
    /// Why, in words that follow "the monitor": `was killed by SIGKILL`.
    pub reason: String,
    /// The last lines of its log.
    pub log: Vec<String>,
    /// What comes now.
    pub next: Next,
    /// Whether somebody wanted it so.
    pub is_planned: bool,
}

/// What comes after a death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Next {
    /// The monitor is started again, so many seconds later.
    Again {
        /// The pause.
        secs: u64,
    },
    /// Nothing.
    Never,
    /// The monitor lives, and makes itself what died.
    Repaired,
    /// The service manager starts all of it again.
    Managed,
}

/// What became of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its mail lies in the outbox.
    Now,
    /// The disk did not take its mail, which is in the memory of this process alone.
    Unkept,
    /// It is told with those that follow, in an hour or so.
    Later,
    /// There was nothing to tell.
    Nothing,
}

/// Why a death could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The outbox did not take the mail.
    #[error(transparent)]
    Mail(#[from] mail::Error),
    /// What is to be told later could not be kept.
    #[error(transparent)]
    Disk(#[from] whole::Error),
}

/// Where ends are told, and by whom.
#[derive(Debug)]
pub struct Teller<'a> {
    /// The name of this machine.
    pub host: &'a str,
    /// The data folder.
    pub data_dir: &'a Path,
    /// Who is mailed.
    pub mail: Option<&'a mail::Settings>,
    /// The names of the webhooks and commands that are told, too.
    pub ways: &'a [String],
    /// Where the mails lie.
    pub outbox: &'a Outbox,
}

/// Whether the end of a run needs no other mail, now that the next one begins: one tells it, or will, and what that says
/// of a new start came true.
pub(super) fn is_known(data_dir: &Path, run: UnixTime, now: UnixTime) -> bool {
    let last = load(data_dir).last.filter(|last| last.run == run);
    last.is_some_and(|last| last.next_by.is_none_or(|by| now <= by))
}

/// Whether there are ends that no mail tells yet.
pub(super) fn has_untold(data_dir: &Path) -> bool {
    !load(data_dir).untold.is_empty()
}

impl Teller<'_> {
    /// Tells a death, or keeps it for later, when the last mail about one is less than an hour old and it goes on; `None`
    /// tells those that were kept.
    pub fn tell(&self, death: Option<Death>, now: UnixTime) -> Result<Told, Error> {
        let mut kept = load(self.data_dir);
        let is_urgent = death.as_ref().is_none_or(|death| death.next == Next::Never);
        if let Some(death) = death {
            kept.take(death);
        }
        let Some((newest, before)) = kept.untold.split_last() else { return Ok(Told::Nothing) };
        // A clock that was set back holds nothing up.
        let is_early = kept.told.is_some_and(|told| now.since(told).is_some_and(|since| since < ONE_MAIL_IN));
        if is_early && !is_urgent {
            self.save(&kept)?;
            return Ok(Told::Later);
        }
        let message = letter::death(newest, before, kept.more, self.data_dir, self.host);
        let mut is_kept = true;
        if self.mail.is_some() || self.ways.is_empty() {
            let mail = mail::compose(&message, self.mail, self.host)?;
            is_kept &= self.outbox.put(&message, &mail)?.on_disk;
        }
        let state = if newest.next == Next::Never { posting::STOPPED } else { posting::RESTARTED };
        for posting in posting::of_mail(state, &message, self.ways, self.host) {
            is_kept &= posting.keep(self.outbox)?.on_disk;
        }
        // Where this fails, an end is told twice.
        let noted = self.save(&Kept { told: Some(now), untold: Vec::new(), more: 0, last: kept.last });
        noted.unwrap_or_else(|error| warn!("{error}"));
        Ok(if is_kept { Told::Now } else { Told::Unkept })
    }

    fn save(&self, kept: &Kept) -> Result<(), Error> {
        let bytes = serde_json::to_vec(kept).expect("it is numbers and texts, which JSON has");
        Ok(whole::write(&self.data_dir.join(FILE), &bytes)?)
    }
}

/// What is kept; nothing where that cannot be read, for this file must not keep an end from being told.
fn load(data_dir: &Path) -> Kept {
    fs::read(data_dir.join(FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// What `ends.json` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// When a mail was last written.
    told: Option<UnixTime>,
    /// What no mail tells yet, the newest last.
    untold: Vec<Death>,
    /// How many more there were before these.
    more: u64,
    /// The newest end of all.
    last: Option<Last>,
}

/// An end that is told, or will be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Last {
    /// Whose.
    run: UnixTime,
    /// Until when the next run was to begin, by what is told; `None` where that is left to somebody else.
    next_by: Option<UnixTime>,
}

impl Kept {
    fn take(&mut self, death: Death) {
        // The same end may be told by more than one.
        self.untold.retain(|other| other.key != death.key);
        // One log is enough.
        let next_in = match death.next {
            Next::Again { secs } => Some(Duration::from_secs(secs)),
            Next::Repaired | Next::Managed => Some(Duration::ZERO),
            Next::Never => None,
        };
        self.last = Some(Last { run: death.run, next_by: next_in.map(|wait| death.at.plus(wait + GRACE)) });
        self.untold.iter_mut().for_each(|other| other.log.clear());
        self.untold.push(death);
        let over = self.untold.len().saturating_sub(MOST_LISTED);
        self.untold.drain(..over);
        self.more += over as u64;
    }
}

const FILE: &str = "ends.json";
const ONE_MAIL_IN: Duration = Duration::from_secs(3600);
const MOST_LISTED: usize = 50;
/// So much longer than it was told a new start may take.
const GRACE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn death(number: i64) -> Death {
        Death {
            key: format!("monitor-exit-{number}"),
            run: UnixTime::from_secs(number),
            started: UnixTime::from_secs(1_700_000_000 + number - 5),
            at: UnixTime::from_secs(1_700_000_000 + number),
            reason: "was killed by SIGKILL: by somebody".into(),
            log: vec![format!("line {number}")],
            next: Next::Again { secs: 1 },
            is_planned: false,
        }
    }

    struct Desk {
        dir: tempfile::TempDir,
        outbox: Outbox,
    }

    impl Desk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let outbox = Outbox::open(dir.path()).unwrap();
            Self { dir, outbox }
        }

        fn tell(&self, death: Option<Death>, secs: i64) -> Told {
            let teller = Teller {
                host: "mon",
                data_dir: self.dir.path(),
                mail: None,
                ways: &[],
                outbox: &self.outbox,
            };
            teller.tell(death, UnixTime::from_secs(1_700_000_000 + secs)).unwrap()
        }

        fn mails(&self) -> Vec<String> {
            let waiting = self.outbox.waiting(mail::Kind::Mail).unwrap();
            let text = |mail: &mail::Waiting| fs::read_to_string(&mail.path).unwrap();
            // As a reader sees them.
            waiting.iter().map(|mail| text(mail).replace("=\r\n", "").replace("\r\n ", " ")).collect()
        }
    }

    #[test]
    fn a_row_of_deaths_is_one_mail_an_hour_and_none_is_forgotten() {
        let desk = Desk::new();
        assert_eq!(desk.tell(Some(death(0)), 0), Told::Now);
        for number in 1..=70 {
            assert_eq!(desk.tell(Some(death(number)), number), Told::Later);
        }
        assert!(has_untold(desk.dir.path()));
        assert_eq!(desk.tell(Some(death(3600)), 3600), Told::Now);
        let [first, second] = &desk.mails()[..] else { panic!("two mails: {:?}", desk.mails()) };
        assert!(
            first.contains("mon was killed by SIGKILL, starts again") && first.contains("line 0"),
            "{first}"
        );
        assert!(
            second.contains("it ended 70 more times") && second.contains("21 times, which are not listed")
        );
        assert!(second.contains("line 3600") && !second.contains("line 70"), "{second}");
        assert_eq!(desk.tell(None, 3601), Told::Nothing);
        assert!(!has_untold(desk.dir.path()));
    }

    #[test]
    fn what_was_kept_is_told_before_all_ends() {
        let desk = Desk::new();
        desk.tell(Some(death(0)), 0);
        desk.tell(Some(death(1)), 1);
        let last = Death { next: Next::Never, ..death(2) };
        assert_eq!(desk.tell(Some(last), 2), Told::Now);
        assert!(desk.mails()[1].contains("STOPPED") && desk.mails()[1].contains("it ended once more"));
        desk.tell(Some(death(3)), 3);
        assert_eq!(desk.tell(None, 4), Told::Now, "asked outright");
        assert_eq!(desk.mails().len(), 3);
    }

    #[test]
    fn the_same_end_is_told_once() {
        let desk = Desk::new();
        desk.tell(Some(death(0)), 0);
        // The file was lost between the mail and its note.
        fs::remove_file(desk.dir.path().join(FILE)).unwrap();
        desk.tell(Some(death(0)), 1);
        assert_eq!(desk.mails().len(), 1);
    }

    #[test]
    fn an_end_is_known_as_long_as_what_it_says_of_the_next_start_is_true() {
        let desk = Desk::new();
        let is_known = |run, secs: i64| {
            is_known(desk.dir.path(), UnixTime::from_secs(run), UnixTime::from_secs(1_700_000_000 + secs))
        };
        assert!(!is_known(7, 8));
        desk.tell(Some(death(7)), 7);
        assert!(is_known(7, 8) && !is_known(6, 8));
        assert!(!is_known(7, 3600), "it was to start again in a second");
        desk.tell(Some(Death { next: Next::Never, ..death(9) }), 9);
        assert!(is_known(9, 3600), "it was not to start again by itself");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_a_clock_set_back_keeps_nothing_from_being_told() {
        let desk = Desk::new();
        fs::write(desk.dir.path().join(FILE), "{broken").unwrap();
        assert_eq!(desk.tell(Some(death(0)), 0), Told::Now);
        assert_eq!(desk.tell(Some(death(1)), -5000), Told::Now);
    }
}
