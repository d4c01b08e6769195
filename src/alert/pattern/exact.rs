//! What SmokePing's program makes of a pattern, which is less than its manual promises. Learned from what it answers to
//! given series; `tests/smokeping.rs` asks it again.
//!
//! The gaps part a pattern into groups of comparisons, and the newest group must hold of the newest values. The place of
//! every other group is told by its *shift*: how far it lies behind where it would lie if all gaps were empty. It is
//! looked for from a shift of 0 on, and given up
//!
//! - when it did not hold at as many places in succession as its gap is long, so that a gap of N skips N - 1 values,
//! - or when those places and the shift are together as many as the pattern is long, so that a single gap skips less
//!   than half of that,
//! - or when those places are as many as there are more values than comparisons.
//!
//! At each place where a group holds, the count of the places begins anew, whether that place is of use or not. No group
//! may have a smaller shift than the one that is newer.

use std::collections::VecDeque;

use super::{Element, Value};

/// Whether `values`, the newest last, match `elements`, which reach over `span` values at most.
pub(super) fn matches(elements: &[Element], span: usize, values: &VecDeque<Value>) -> bool {
    let gaps = || elements.iter().rev().filter_map(|element| element.gap());
    let Some(spare) = values.len().checked_sub(elements.len() - gaps().count()) else { return false };
    let mut groups = elements.rsplit(|element| element.gap().is_some());
    let newest = groups.next().unwrap_or_default();
    if !holds(newest, values, 0) {
        return false;
    }
    let (mut newer, mut least_shift) = (newest.len(), 0);
    for (group, gap) in groups.zip(gaps()) {
        let (mut shift, mut missed) = (0, 0);
        loop {
            if missed >= gap || missed >= spare || missed + shift >= span {
                return false;
            }
            if holds(group, values, newer + shift) {
                if shift >= least_shift {
                    break;
                }
                missed = 0;
            } else {
                missed += 1;
            }
            shift += 1;
        }
        (newer, least_shift) = (newer + group.len(), shift);
    }
    true
}

/// Whether the elements of `group` hold of the values that have `newer` others behind them.
fn holds(group: &[Element], values: &VecDeque<Value>, newer: usize) -> bool {
    let Some(start) = values.len().checked_sub(newer + group.len()) else { return false };
    group.iter().zip(values.range(start..)).all(|(element, value)| element.holds(*value))
}
