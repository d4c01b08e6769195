//! Updates as most are: whole seconds and plain decimals, for gauges, of which each ends one step. A call can have a hundred
//! thousand of them, so they have a shorter way than others, to the same bytes.

use crate::rrd::def::LATEST_SECS;
use crate::rrd::layout::Layout;
use crate::rrd::number::{UNKNOWN, plain_decimal_prefix, plain_digits};
use crate::rrd::pdp::Pdp;
use crate::rrd::reading::gauge_growth;
use crate::rrd::update::{Part, Template, Updater, put_last_ds, step_of};

impl Updater {
    /// Reads what most arguments are, whole seconds and a plain decimal for each data source, in one pass. `None` leaves
    /// all others to [`Updater::split`], which knows what is wrong with them.
    pub(super) fn split_plain(
        &mut self,
        layout: Layout,
        argument: &[u8],
        template: Option<&Template>,
    ) -> Option<i64> {
        /// No time has more, and so many fit a number.
        const MOST_DIGITS: usize = 15;
        let (secs, mut rest) = plain_digits(0, argument);
        if !(1..=MOST_DIGITS).contains(&(argument.len() - rest.len())) {
            return None;
        }
        if template.is_some() {
            self.forget_parts(layout);
        }
        for ds in template.map_or(&self.inputs, |Template(indexes)| indexes) {
            let reading = rest.strip_prefix(b":")?;
            let (value, behind) = plain_decimal_prefix(reading)?;
            let text = argument.len() - reading.len()..argument.len() - behind.len();
            self.parts[*ds] = Part { text: Some(text), value: Some(value) };
            rest = behind;
        }
        // A file that takes no readings at all cannot be updated.
        (rest.is_empty() && !self.inputs.is_empty()).then_some(secs)
    }

    /// Takes the readings that were sorted, plain ones at a whole second, where all data sources are gauges and this ends one
    /// step. Most updates do, and cannot fail: they are spared much of what `Updater::take` does for others. `false`
    /// where this is another, and then nothing has changed.
    pub(super) fn close_step(&mut self, header: &[u8], layout: Layout, secs: i64, texts: &[u8]) -> bool {
        let ended = self.open_step.and_then(|open| open.end(secs));
        let Some((timing, open_step)) = ended.filter(|_| self.only_gauges && secs <= LATEST_SECS) else {
            return false;
        };
        let step = step_of(header);
        let Self { live, data_sources, parts, closed, .. } = self;
        let preps = layout.pdp_preps_mut(live).iter_mut();
        for ((prep, def), part) in preps.zip(data_sources).zip(parts) {
            put_last_ds(prep, part.text(texts));
            let growth = part.value.map_or(UNKNOWN, |value| gauge_growth(value, def, timing.interval));
            let (pdp, open) = Pdp::read(prep).close(growth, &timing, step, def.heartbeat);
            open.write(prep);
            closed.push(pdp);
        }
        closed.end(&timing, (timing.first_pdp + 1) * u64::from(step.secs()));
        self.close_rows(header, layout, step);
        self.put_last_update(layout, secs, 0);
        self.open_step = Some(open_step);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rrd::create::image;
    use crate::rrd::def::Definition;
    use crate::rrd::file::Rrd;
    use crate::rrd::update::{Options, store_in};
    use crate::time::{Step, UnixTime};

    const START: i64 = 1_700_000_000;

    fn file() -> Rrd<Vec<u8>> {
        let (step, start) = (Step::new(10).unwrap(), UnixTime::from_secs(START));
        let mut definition = Definition { step, start, data_sources: Vec::new(), archives: Vec::new() };
        for text in [
            "DS:a:GAUGE:15:0:5000",
            "DS:b:GAUGE:100:U:U",
            "RRA:AVERAGE:0.5:1:50",
            "RRA:MIN:0.3:3:9",
            "RRA:MAX:0:4:20",
            "RRA:LAST:0.9:7:20",
        ] {
            definition.add(text).unwrap();
        }
        Rrd::new_checked(image(&definition).unwrap()).unwrap()
    }

    /// The file's bytes after these arguments.
    fn updated(file: &Rrd<Vec<u8>>, arguments: &[String], may_be_short: bool) -> Vec<u8> {
        let mut rrd = Rrd::new_checked(file.bytes().to_vec()).unwrap();
        let layout = rrd.layout();
        let mut updater = Updater::default();
        let options = Options { template: None, skip_past: true, now: UnixTime::from_secs(START) };
        updater.begin(rrd.bytes(), layout);
        for argument in arguments {
            if !may_be_short {
                updater.open_step = None;
            }
            // One that fails leaves no trace in either.
            let _ = updater.take_text(rrd.bytes(), layout, argument.as_bytes(), &options);
        }
        let Ok(()) = updater.apply(layout, store_in(rrd.bytes_mut()));
        rrd.bytes().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_shorter_way_leads_to_the_same_bytes(
            updates in prop::collection::vec(
                (
                    prop_oneof![8 => Just(10_i64), 6 => 0_i64..25, 1 => 0_i64..500],
                    "[0-9]{1,4}(\\.[0-9]{0,6})?|U|-1",
                    "[0-9]{1,9}\\.[0-9]{1,9}|x",
                    prop_oneof![9 => Just(""), 1 => Just(".5")],
                ),
                1..700,
            ),
        ) {
            let mut secs = START;
            let arguments: Vec<String> = updates
                .into_iter()
                .map(|(passed, a, b, fraction)| {
                    secs += passed;
                    format!("{secs}{fraction}:{a}:{b}")
                })
                .collect();
            // A new file begins with any row: one for both.
            let file = file();
            prop_assert!(updated(&file, &arguments, true) == updated(&file, &arguments, false));
        }
    }

    #[test]
    fn a_round_each_step_goes_the_shorter_way() {
        let rrd = file();
        let (header, layout) = (rrd.bytes(), rrd.layout());
        let mut updater = Updater::default();
        updater.begin(header, layout);
        for secs in (1..=100).map(|number| START + 10 * number) {
            let argument = format!("{secs}:20:0.25");
            assert_eq!(updater.split_plain(layout, argument.as_bytes(), None), Some(secs));
            assert!(updater.close_step(header, layout, secs, argument.as_bytes()));
        }
    }
}
