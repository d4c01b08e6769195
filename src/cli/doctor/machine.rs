//! The user, the clock and the time zone.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use latmon::config;
use latmon::privileges::User;
use latmon::time::UnixTime;

use super::adjtimex::{Discipline, discipline};
use super::{Finding, Patient};

/// Who will record, and whether that is more than it takes.
pub(super) fn user(patient: &Patient) -> Finding {
    let about = "user";
    match (&patient.config.user, &patient.service) {
        (Some(config::Setting { value, origin }), None) => Finding::fail(
            about,
            format!("{origin}: there is no user '{value}': useradd --system --no-create-home {value}"),
        ),
        (Some(wanted), Some(service)) if !patient.me.is_root() && patient.me != *service => Finding::warn(
            about,
            format!(
                "{} ({}), and only root can become that: you are {}",
                service.name, wanted.origin, patient.me.name
            ),
        ),
        (_, Some(service)) if service.is_root() => Finding::warn(
            about,
            "started from here it stays root, which nothing needs: useradd --system --no-create-home latmon, and user = \
             \"latmon\" in latmon.toml",
        ),
        (_, Some(service)) => Finding::ok(about, service.name.clone()),
        (None, None) => Finding::ok(about, patient.me.name.clone()),
    }
}

/// Who a running process acts as.
pub(super) fn owner_of(pid: u32) -> Option<User> {
    // The folder of a process that gave up privileges is root's all the same.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(User::numbered)
}

/// Whether the wall clock is kept right: rows and mails carry its time, the round trips do not depend on it.
pub(super) fn clock() -> Finding {
    judge_clock(UnixTime::from(SystemTime::now()), discipline())
}

fn judge_clock(now: UnixTime, discipline: std::io::Result<Discipline>) -> Finding {
    let about = "clock";
    let date = now.local();
    let date = format!("{} {}", date.civil.format("%Y-%m-%d %H:%M:%S"), date.zone);
    if now < WRITTEN {
        return Finding::fail(
            about,
            format!("{date} is long past: set it, and let NTP keep it (apt install chrony)"),
        );
    }
    match discipline {
        Ok(Discipline { is_synchronised: true, most_error_secs }) => {
            Finding::ok(about, format!("synchronised, within {:.0} ms", (most_error_secs * 1e3).max(1.0)))
        }
        Ok(_) => Finding::warn(
            about,
            format!(
                "not synchronised (it says {date}): let NTP keep it: timedatectl set-ntp true, or apt install chrony"
            ),
        ),
        Err(error) => {
            Finding::warn(about, format!("{date}; whether it is synchronised cannot be told: {error}"))
        }
    }
}

/// Whether local times are those of the zone that somebody set.
pub(super) fn zone() -> Finding {
    let zone = UnixTime::from(SystemTime::now()).local().zone;
    let variable = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    judge_zone(variable.as_deref(), &zone, |path| path.is_file())
}

fn judge_zone(variable: Option<&str>, zone: &str, is_file: impl Fn(&Path) -> bool) -> Finding {
    let about = "zone";
    let Some(name) = variable else {
        return if is_file(Path::new("/etc/localtime")) {
            Finding::ok(about, format!("{zone}, by /etc/localtime"))
        } else {
            Finding::ok(about, format!("{zone}, since there is no /etc/localtime"))
        };
    };
    let name = name.strip_prefix(':').unwrap_or(name);
    let path = Path::new("/usr/share/zoneinfo").join(name);
    // A rule such as CET-1CEST,M3.5.0,M10.5.0/3 needs no table, and has digits behind its first letters.
    let letters = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let is_rule = letters.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '<'));
    if is_file(&path) || is_rule || name == "UTC" {
        Finding::ok(about, format!("{zone}, by TZ={name}"))
    } else {
        Finding::warn(
            about,
            format!(
                "TZ={name} is in no table here, and all times are UTC: apt install tzdata, or mend the name"
            ),
        )
    }
}

/// 2025-01-01: no clock that is right is behind it.
const WRITTEN: UnixTime = UnixTime::from_secs(1_735_689_600);

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_told() {
        let now = UnixTime::from_secs(1_763_985_600);
        let look = |now, is_synchronised| {
            judge_clock(now, Ok(Discipline { is_synchronised, most_error_secs: 0.0123 }))
        };
        let kept = look(now, true);
        assert_eq!((kept.verdict, &*kept.text), (Verdict::Ok, "synchronised, within 12 ms"));
        let drifting = look(now, false);
        assert_eq!(drifting.verdict, Verdict::Warn);
        assert!(drifting.text.contains("timedatectl set-ntp true"), "{}", drifting.text);
        assert_eq!(
            look(UnixTime::from_secs(100), true).verdict,
            Verdict::Fail,
            "a machine without a battery"
        );
        let refused = judge_clock(now, Err(std::io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.verdict, Verdict::Warn);
    }

    #[test]
    fn a_zone_without_a_table_is_told() {
        let has = |wanted: &'static str| move |path: &Path| path == Path::new(wanted);
        let nothing = |_: &Path| false;
        assert_eq!(judge_zone(None, "CET", has("/etc/localtime")).text, "CET, by /etc/localtime");
        assert_eq!(judge_zone(None, "UTC", nothing).verdict, Verdict::Ok);
        let berlin = "/usr/share/zoneinfo/Europe/Berlin";
        assert_eq!(judge_zone(Some("Europe/Berlin"), "CET", has(berlin)).verdict, Verdict::Ok);
        assert_eq!(judge_zone(Some(":Europe/Berlin"), "CET", has(berlin)).verdict, Verdict::Ok);
        assert_eq!(judge_zone(Some("CET-1CEST,M3.5.0,M10.5.0/3"), "CET", nothing).verdict, Verdict::Ok);
        let missing = judge_zone(Some("Europe/Berlin"), "Europe", nothing);
        assert_eq!(missing.verdict, Verdict::Warn);
        assert!(missing.text.contains("apt install tzdata"), "{}", missing.text);
    }
}
