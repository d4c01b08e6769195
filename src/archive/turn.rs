//! The recording of a group of rounds: each target's archive takes its own in one turn, and all turns share a sync of
//! the journal.

use std::path::{Path, PathBuf};

use crate::round::Round;
use crate::rrd::{self, Prepared};
use crate::time::UnixTime;

use super::journal::Journal;
use super::layout::{self, Columns};
use super::{Error, Rhythm, TargetSettings, folder, forecast};

/// What became of one round of a group.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored,
    /// The archive's last update is not before its end.
    Behind(UnixTime),
    Failed(Error),
    /// Another program holds the archive's lock.
    Locked,
    /// One before it failed.
    NotTried,
}

impl Outcome {
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Rrd { source: rrd::Error::Locked { .. }, .. } => Self::Locked,
            error => Self::Failed(error),
        }
    }
}

/// The part of a target in a group of rounds.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) name: &'a str,
    pub(super) open: Open,
    pub(super) rrd: rrd::File,
    /// The archive's last update before the group.
    pub(super) before: Option<UnixTime>,
    /// Which rounds are its own.
    pub(super) places: Vec<usize>,
}

impl Turn<'_> {
    /// Locks the archive and computes what its rounds make of it. Where somebody else has the lock, that is waited for, but
    /// not for long, or not at all.
    pub(super) fn prepare(
        &mut self,
        rounds: &[&Round],
        outcomes: &mut [Outcome],
        is_patient: bool,
    ) -> Option<(Prepared<'_>, &[usize])> {
        let Self { open, rrd, before, places, .. } = self;
        match open.prepare(rrd, rounds, places, outcomes, is_patient) {
            Ok(prepared) => {
                *before = Some(prepared.stored_last_update());
                Some((prepared, places))
            }
            Err(error) => {
                match Outcome::of(error) {
                    Outcome::Locked => places.iter().for_each(|place| outcomes[*place] = Outcome::Locked),
                    outcome => outcomes[places[0]] = outcome,
                }
                None
            }
        }
    }

    /// The archive for the next group; nothing where it should be opened anew.
    pub(super) fn ended(mut self, outcomes: &[Outcome]) -> (Option<Open>, rrd::File) {
        for place in &self.places {
            match &outcomes[*place] {
                Outcome::Failed(Error::Journal(_)) => self.open.seen = self.before,
                Outcome::Failed(Error::OtherWriter { .. }) => {}
                Outcome::Failed(_) => return (None, self.rrd),
                _ => {}
            }
        }
        (Some(self.open), self.rrd)
    }
}

/// Stores what was prepared; where that fails, the rounds at those places are missed.
pub(super) fn commit(journal: &mut Journal, group: Vec<(Prepared<'_>, &[usize])>, outcomes: &mut [Outcome]) {
    let paths: Vec<PathBuf> = group.iter().map(|(prepared, _)| prepared.path().to_owned()).collect();
    let (prepared, places): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    for ((stored, places), path) in journal.commit(prepared).into_iter().zip(places).zip(paths) {
        let Err(error) = stored else { continue };
        for place in places {
            if let Outcome::Stored = outcomes[*place] {
                outcomes[*place] = Outcome::Failed(Error::of_journal(&path, &error));
            }
        }
    }
}

/// An archive that can be updated.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) rhythm: Rhythm,
    columns: Columns,
    /// One value per data source, kept between updates.
    values: Vec<f64>,
    /// The file's last update when it was last looked at. Another one since then is another program's.
    seen: Option<UnixTime>,
}

impl Open {
    pub(super) fn new(
        files: &mut rrd::Set,
        file: &Path,
        settings: &TargetSettings,
        now: UnixTime,
    ) -> Result<Self, Error> {
        if !file.exists() {
            folder::make_parent(file)?;
            let rhythm = Rhythm { step: settings.step.value(), pings: settings.pings.value() };
            let start = rhythm.step.boundary_before(now);
            rrd::create(
                file,
                &layout::definition(rhythm, settings.asked.forecast, start),
                rrd::Overwrite::No,
            )
            .map_err(Error::of_file(file))?;
        }
        let failed = Error::of_file(file);
        files.close(file);
        let view = files.file(file).and_then(rrd::File::view).map_err(failed)?;
        let columns = Columns::find(&view, file)?;
        let rhythm = Rhythm { step: view.step(), pings: columns.pings() };
        let has_forecast = forecast::is_in(&view);
        view.finish().map_err(failed)?;
        if settings.asked.forecast && !has_forecast {
            return Err(Error::NoForecast { file: file.to_owned() });
        }
        if !settings.step.allows(rhythm.step) {
            let wanted = settings.step.value();
            return Err(Error::OtherStep { file: file.to_owned(), found: rhythm.step, wanted });
        }
        if !settings.pings.allows(rhythm.pings) {
            let wanted = settings.pings.value();
            return Err(Error::OtherPings { file: file.to_owned(), found: rhythm.pings, wanted });
        }
        let values = vec![f64::NAN; columns.data_sources()];
        Ok(Self { rhythm, columns, values, seen: None })
    }

    /// See [`super::Known::aberrant`].
    pub(super) fn is_aberrant<B: AsRef<[u8]>>(
        &self,
        view: &rrd::Rrd<B>,
        at: UnixTime,
    ) -> Result<Option<bool>, rrd::Error> {
        if at > view.last_update() {
            return Ok(None);
        }
        forecast::is_aberrant(view, &self.columns, at)
    }

    /// Locks the archive and begins to add rounds.
    fn prepare<'a>(
        &mut self,
        rrd: &'a mut rrd::File,
        rounds: &[&Round],
        places: &[usize],
        outcomes: &mut [Outcome],
        is_patient: bool,
    ) -> Result<Prepared<'a>, Error> {
        let Self { columns, values, seen, .. } = self;
        let file = rrd.path().to_owned();
        let failed = Error::of_file(&file);
        let prepared = if is_patient { rrd.prepare() } else { rrd.prepare_at_once() };
        let mut prepared = prepared.map_err(failed)?;
        let last = prepared.last_update();
        if seen.replace(last).is_some_and(|seen| seen != last) {
            return Err(Error::OtherWriter { file, last });
        }
        for place in places {
            outcomes[*place] = match add(&mut prepared, rounds[*place], columns, values) {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Failed(failed(error)),
            };
        }
        *seen = Some(prepared.last_update());
        Ok(prepared)
    }
}

/// Adds a round; where the archive's last update lies before the round's start, what lies between is stored as unknown
/// first: nobody watched then, and rrdtool would spread the round over it.
fn add(
    archive: &mut Prepared<'_>,
    round: &Round,
    columns: &Columns,
    values: &mut [f64],
) -> Result<Outcome, rrd::Error> {
    let last = archive.last_update();
    if last >= round.end() {
        return Ok(Outcome::Behind(last));
    }
    if last < round.start() {
        values.fill(f64::NAN);
        archive.update(round.start(), values)?;
    }
    columns.fill(round, values);
    archive.update(round.end(), values)?;
    Ok(Outcome::Stored)
}
