//! The row of an archive that is open: where in it the steps stand.

use crate::rrd::cdp::Due;
use crate::rrd::def::ArchiveDef;
use crate::rrd::pdp::Timing;

/// Remembers where the row began, as long as one update follows the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenRow {
    /// The number of a step that a row began with. Most updates close a step of that row or of the next, and need no
    /// division to know where in it they are.
    began: u64,
    /// What the steps that were closed last meant for it.
    pub(super) due: Due,
}

impl OpenRow {
    /// Notes what the steps of `timing` mean for the archive.
    pub(super) fn close(&mut self, def: &ArchiveDef, timing: &Timing) {
        let mut closed = timing.first_pdp.wrapping_sub(self.began);
        if closed >= def.pdp_per_row {
            closed -= def.pdp_per_row;
            if closed >= def.pdp_per_row {
                closed = timing.first_pdp % def.pdp_per_row;
            }
            self.began = timing.first_pdp - closed;
        }
        self.due = Due::after(def, closed, timing.elapsed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rrd::def::Cf;
    use crate::time::{Step, UnixTime};

    /// Steps of one row, of the next, of one far behind a gap, and of a file whose time was set back.
    #[test]
    fn what_is_due_needs_no_division_to_be_right() {
        let step = Step::new(1).unwrap();
        for pdp_per_row in [1, 2, 7] {
            let def = ArchiveDef { cf: Cf::Average, xff: 0.5, pdp_per_row, rows: 3, forecast: None };
            let mut open = OpenRow::default();
            for (last, now) in [
                (100, 101),
                (101, 102),
                (102, 107),
                (107, 108),
                (108, 1000),
                (1000, 1001),
                (50, 51),
                (51, 60),
            ] {
                let [last, now] = [last, now].map(UnixTime::from_secs);
                let timing = Timing::between(last, now, step);
                open.close(&def, &timing);
                assert_eq!(open.due, Due::new(&def, timing.first_pdp, timing.elapsed));
            }
        }
    }
}
