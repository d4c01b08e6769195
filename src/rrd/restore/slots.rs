//! Which word of an archive's sections an element is about. The original goes by the element's name alone, whatever the
//! function of the archive; so do we.

/// A word among the ten of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A number.
    Number(usize),
    /// A whole number.
    Count(usize),
}

/// Where a parameter of an archive goes. The period of a forecast is not in the XML; nobody reads it.
pub(super) fn parameter(name: &str) -> Option<Slot> {
    Some(match name {
        "xff" => Slot::Number(0),
        "hw_alpha" | "seasonal_gamma" | "delta_pos" => Slot::Number(1),
        "hw_beta" | "smoothing_window" | "delta_neg" => Slot::Number(2),
        "dependent_rra_idx" => Slot::Count(3),
        "seasonal_smooth_idx" | "window_len" => Slot::Count(4),
        "failure_threshold" => Slot::Count(5),
        _ => return None,
    })
}

/// Where a part of an open data point goes.
pub(super) fn state(name: &str) -> Option<Slot> {
    Some(match name {
        "value" => Slot::Number(0),
        "unknown_datapoints" => Slot::Count(1),
        "intercept" | "seasonal" => Slot::Number(2),
        "last_intercept" | "last_seasonal" => Slot::Number(3),
        "slope" => Slot::Number(4),
        "last_slope" => Slot::Number(5),
        "nan_count" | "init_flag" => Slot::Count(6),
        "last_nan_count" => Slot::Count(7),
        "primary_value" => Slot::Number(8),
        "secondary_value" => Slot::Number(9),
        _ => return None,
    })
}

/// Stores the violations that FAILURES remembers, the newest first. The original forgets those after the tenth.
pub(super) fn put_history(prep: &mut [u8], flags: &str) {
    /// Flags that it keeps.
    const KEPT: usize = 10;
    for (slot, flag) in prep.iter_mut().zip(flags.bytes()).take(KEPT) {
        *slot = u8::from(flag == b'1');
    }
}
