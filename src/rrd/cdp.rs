//! Consolidated data points: from primary data points to rows. Pure arithmetic.

use std::cmp::Ordering;

use crate::rrd::def::{ArchiveDef, Cf};
use crate::rrd::layout::{cdp_prep, f64_at, put, put_f64, u64_at};
use crate::rrd::number::UNKNOWN;
use crate::rrd::pdp::or_zero;

/// A consolidated data point that is still open, and what was written last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cdp {
    /// The consolidation so far.
    pub value: f64,
    /// How many primary data points in it are unknown.
    pub unknown_pdps: u64,
    /// The value of the first row of the last write.
    pub primary: f64,
    /// The value of the further rows of the last write, when it had any.
    pub secondary: f64,
}

/// What the steps that ended mean for one archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Primary data points that the open row still lacked.
    missing: u64,
    /// Rows to write, no more than the archive has.
    pub(super) rows: u64,
}

impl Due {
    /// The last step of a row.
    pub(super) const LAST: Self = Self { missing: 1, rows: 1 };

    /// When `elapsed` steps ended, the first of them number `first_pdp`.
    pub(super) fn new(rra: &ArchiveDef, first_pdp: u64, elapsed: u64) -> Self {
        let missing = rra.pdp_per_row - first_pdp % rra.pdp_per_row;
        let rows = match elapsed.cmp(&missing) {
            Ordering::Less => 0,
            Ordering::Equal => 1,
            Ordering::Greater => ((elapsed - missing) / rra.pdp_per_row + 1).min(rra.rows),
        };
        Self { missing, rows }
    }
}

impl Cdp {
    /// That of a new file: what lies between the row's beginning and the file's start is unknown.
    pub(super) fn new(unknown_pdps: u64) -> Self {
        Self { value: UNKNOWN, unknown_pdps, primary: 0.0, secondary: 0.0 }
    }

    /// After `elapsed` steps that all had the value `pdp`.
    #[must_use]
    pub(super) fn consolidate(self, rra: &ArchiveDef, due: Due, pdp: f64, elapsed: u64) -> Self {
        if rra.pdp_per_row == 1 {
            // The row is the step. The secondary value of a longer write stays as it was.
            let secondary = if elapsed >= 2 { pdp } else { self.secondary };
            return Self { primary: pdp, secondary, ..self };
        }
        if due.rows == 0 { self.collect(rra.cf, pdp, elapsed) } else { self.finish(rra, due, pdp, elapsed) }
    }

    /// After single steps that follow each other, the first of them where the open row lacks `missing`; `filled` is told
    /// the value of each row that they fill. The same comes of them one by one.
    #[must_use]
    pub(super) fn consolidate_run(
        self,
        rra: &ArchiveDef,
        missing: u64,
        pdps: &[f64],
        filled: impl FnMut(f64),
    ) -> Self {
        // A loop for each function, which is then not asked for with each data point.
        match rra.cf {
            _ if rra.pdp_per_row == 1 => {
                pdps.iter().copied().for_each(filled);
                Self { primary: pdps.last().copied().unwrap_or(self.primary), ..self }
            }
            Cf::Average => self.collect_run(Cf::Average, rra, missing, pdps, filled),
            Cf::Min => self.collect_run(Cf::Min, rra, missing, pdps, filled),
            Cf::Max => self.collect_run(Cf::Max, rra, missing, pdps, filled),
            cf => self.collect_run(cf, rra, missing, pdps, filled),
        }
    }

    /// As [`Cdp::consolidate_run`], for rows of several steps.
    #[inline(always)]
    fn collect_run(
        mut self,
        cf: Cf,
        rra: &ArchiveDef,
        mut missing: u64,
        mut pdps: &[f64],
        mut filled: impl FnMut(f64),
    ) -> Self {
        let collect = |cdp: Self, pdp: &f64| cdp.collect(cf, *pdp, 1);
        while missing <= pdps.len() as u64
            && let (row, behind) = pdps.split_at(missing as usize)
            && let Some((last, before)) = row.split_last()
        {
            self = before.iter().fold(self, collect).finish(rra, Due::LAST, *last, 1);
            filled(self.primary);
            (pdps, missing) = (behind, rra.pdp_per_row);
        }
        pdps.iter().fold(self, collect)
    }

    /// After `elapsed` steps of a row that is not full then.
    #[inline]
    fn collect(self, cf: Cf, pdp: f64, elapsed: u64) -> Self {
        if pdp.is_nan() {
            return Self { unknown_pdps: self.unknown_pdps.saturating_add(elapsed), ..self };
        }
        let weight = elapsed as f64;
        let value = match cf {
            Cf::Average if self.value.is_nan() => pdp * weight,
            Cf::Average => self.value + pdp * weight,
            Cf::Min if self.value.is_nan() || pdp < self.value => pdp,
            Cf::Max if self.value.is_nan() || pdp > self.value => pdp,
            Cf::Min | Cf::Max => self.value,
            _ => pdp,
        };
        Self { value, ..self }
    }

    /// The row is full, and a new one is begun with the steps that are left.
    fn finish(self, rra: &ArchiveDef, due: Due, pdp: f64, elapsed: u64) -> Self {
        let unknown =
            if pdp.is_nan() { self.unknown_pdps.saturating_add(due.missing) } else { self.unknown_pdps };
        let primary = if unknown as f64 > rra.pdp_per_row as f64 * rra.xff {
            UNKNOWN
        } else {
            match rra.cf {
                Cf::Average => {
                    // A damaged file may count more unknown points than the row has.
                    let known = rra.pdp_per_row.wrapping_sub(unknown);
                    (or_zero(self.value) + or_zero(pdp) * due.missing as f64) / known as f64
                }
                Cf::Min => {
                    let (so_far, now) = (or(self.value, f64::INFINITY), or(pdp, f64::INFINITY));
                    if now < so_far { now } else { so_far }
                }
                Cf::Max => {
                    let (so_far, now) = (or(self.value, f64::NEG_INFINITY), or(pdp, f64::NEG_INFINITY));
                    if now > so_far { now } else { so_far }
                }
                _ => pdp,
            }
        };
        let left = (elapsed - due.missing) % rra.pdp_per_row;
        let value = match rra.cf {
            cf if left == 0 || pdp.is_nan() => empty(cf),
            Cf::Average => pdp * left as f64,
            _ => pdp,
        };
        Self { value, unknown_pdps: if pdp.is_nan() { left } else { 0 }, primary, secondary: pdp }
    }

    pub(super) fn read(prep: &[u8]) -> Self {
        Self {
            value: f64_at(prep, cdp_prep::VALUE),
            unknown_pdps: u64_at(prep, cdp_prep::UNKNOWN_PDPS),
            primary: f64_at(prep, cdp_prep::PRIMARY),
            secondary: f64_at(prep, cdp_prep::SECONDARY),
        }
    }

    pub(super) fn write(self, prep: &mut [u8]) {
        put_f64(prep, cdp_prep::VALUE, self.value);
        put(prep, cdp_prep::UNKNOWN_PDPS, self.unknown_pdps.to_le_bytes());
        put_f64(prep, cdp_prep::PRIMARY, self.primary);
        put_f64(prep, cdp_prep::SECONDARY, self.secondary);
    }

    /// Writes what is no longer as it was.
    pub(super) fn write_over(self, before: Self, prep: &mut [u8; cdp_prep::LEN]) {
        let numbers = [
            (cdp_prep::VALUE, self.value, before.value),
            (cdp_prep::PRIMARY, self.primary, before.primary),
            (cdp_prep::SECONDARY, self.secondary, before.secondary),
        ];
        for (at, now, before) in numbers {
            if now.to_bits() != before.to_bits() {
                put_f64(prep, at, now);
            }
        }
        put(prep, cdp_prep::UNKNOWN_PDPS, self.unknown_pdps.to_le_bytes());
    }
}

/// What a row is begun with when nothing is known of it yet; only a new file has NaN there.
fn empty(cf: Cf) -> f64 {
    match cf {
        Cf::Average => 0.0,
        Cf::Min => f64::INFINITY,
        Cf::Max => f64::NEG_INFINITY,
        _ => UNKNOWN,
    }
}

fn or(value: f64, otherwise: f64) -> f64 {
    if value.is_nan() { otherwise } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rra(cf: Cf) -> ArchiveDef {
        ArchiveDef { cf, xff: 0.5, pdp_per_row: 4, rows: 3, forecast: None }
    }

    #[test]
    fn a_run_of_steps_is_what_they_are_one_by_one() {
        let pdps = [1.5, UNKNOWN, -2.0, 7.25, UNKNOWN, UNKNOWN, UNKNOWN, 3.0, 3.0, 0.5, 4.0];
        for (cf, pdp_per_row, first_pdp) in [Cf::Average, Cf::Min, Cf::Max, Cf::Last]
            .into_iter()
            .flat_map(|cf| [1, 2, 4, 40].map(move |pdp_per_row| (cf, pdp_per_row)))
            .flat_map(|(cf, pdp_per_row)| [0, 1, 3].map(move |first_pdp| (cf, pdp_per_row, first_pdp)))
        {
            let rra = ArchiveDef { pdp_per_row, ..rra(cf) };
            let (mut one_by_one, mut rows) = (Cdp::new(0), Vec::new());
            for (number, pdp) in (first_pdp..).zip(pdps) {
                let due = Due::new(&rra, number, 1);
                one_by_one = one_by_one.consolidate(&rra, due, pdp, 1);
                rows.extend((due.rows > 0).then_some(one_by_one.primary.to_bits()));
            }
            let (missing, mut filled) = (pdp_per_row - first_pdp % pdp_per_row, Vec::new());
            let run = Cdp::new(0).consolidate_run(&rra, missing, &pdps, |value| filled.push(value.to_bits()));
            assert_eq!(filled, rows, "{cf:?} {pdp_per_row} {first_pdp}");
            assert_eq!(format!("{run:?}"), format!("{one_by_one:?}"), "{cf:?} {pdp_per_row} {first_pdp}");
        }
    }

    #[test]
    fn rows_are_due_when_the_last_step_of_theirs_ends() {
        let due = |first_pdp, elapsed| Due::new(&rra(Cf::Average), first_pdp, elapsed).rows;
        assert_eq!((due(0, 3), due(0, 4), due(3, 1), due(2, 5)), (0, 1, 1, 1));
        // No more than the archive has.
        assert_eq!((due(0, 12), due(0, 4000)), (3, 3));
    }

    /// Two known and two unknown of four: xff 0.5 lets the row stand. LAST stays unknown whatever xff says.
    #[test]
    fn half_unknown_rows_stand_and_last_does_not() {
        let row = |cf| {
            let rra = rra(cf);
            let collect = |cdp: Cdp, pdp: f64| cdp.consolidate(&rra, Due::new(&rra, 0, 1), pdp, 1);
            let cdp = [2.0, 8.0, UNKNOWN].into_iter().fold(Cdp::new(0), collect);
            cdp.consolidate(&rra, Due::new(&rra, 3, 1), UNKNOWN, 1)
        };
        assert_eq!([Cf::Average, Cf::Min, Cf::Max].map(|cf| row(cf).primary), [5.0, 2.0, 8.0]);
        assert!(row(Cf::Last).primary.is_nan());
        assert_eq!(
            [Cf::Average, Cf::Min, Cf::Max].map(|cf| row(cf).value),
            [0.0, f64::INFINITY, f64::NEG_INFINITY]
        );
    }
}
