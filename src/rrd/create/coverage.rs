//! Which seconds of a row are known.

/// A set of seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// Spans from a start to an end, in their order, that neither overlap nor touch.
    spans: Vec<(i64, i64)>,
    secs: i64,
}

impl Coverage {
    /// How many seconds it has.
    pub(super) fn secs(&self) -> i64 {
        self.secs
    }

    /// Adds the seconds from `start` to `end`, and returns how many of them are new.
    pub(super) fn add(&mut self, start: i64, end: i64) -> i64 {
        let first = self.spans.partition_point(|span| span.1 < start);
        let touched = self.spans[first..].iter().take_while(|span| span.0 <= end).count();
        let mut whole = (start, end);
        let mut known = 0;
        for span in &self.spans[first..first + touched] {
            known += span.1 - span.0;
            whole = (whole.0.min(span.0), whole.1.max(span.1));
        }
        self.spans.splice(first..first + touched, [whole]);
        let new = whole.1 - whole.0 - known;
        self.secs += new;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a set of single seconds.
    #[test]
    fn seconds_are_counted_once() {
        let (mut coverage, mut seconds) = (Coverage::default(), std::collections::BTreeSet::new());
        let mut number = 1_u64;
        for _ in 0..2000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = (number >> 33) as i64 % 90;
            let end = start + 1 + (number >> 50) as i64 % 9;
            let before = seconds.len();
            seconds.extend(start..end);
            assert_eq!(coverage.add(start, end), (seconds.len() - before) as i64);
            assert_eq!(coverage.secs(), seconds.len() as i64);
            if seconds.len() > 80 {
                (coverage, seconds) = Default::default();
            }
        }
    }
}
