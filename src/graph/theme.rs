//! The colours of a picture.
//!
//! The scale of loss keeps the order that users of SmokePing know (green, blue, purple, red) in tones which people with
//! the common kinds of colour blindness tell apart; the height of the bars in the strip of loss says the same without
//! colour.

use plotters::style::{RGBAColor, RGBColor};

use super::Theme;

/// Every colour of one theme.
pub(super) struct Colours {
    /// Behind everything.
    pub(super) background: RGBColor,
    /// Behind the plot and the strip of loss.
    pub(super) plot: RGBColor,
    /// Around the plot.
    pub(super) frame: RGBColor,
    /// The lines of the ticks that have labels.
    pub(super) grid: RGBColor,
    /// The lines between them.
    pub(super) fine_grid: RGBColor,
    /// The lines where a day, or a year, begins.
    pub(super) strong_grid: RGBColor,
    /// Numbers and names.
    pub(super) text: RGBColor,
    /// The words that explain them.
    pub(super) muted: RGBColor,
    /// The spread of the pings, laid on in translucent layers.
    pub(super) smoke: RGBColor,
    /// Around the median, so that it stands out from the smoke.
    pub(super) halo: RGBAColor,
    /// The median and the strip of loss, by [`loss_class`].
    pub(super) loss: [RGBColor; LOSS_CLASSES.len()],
    /// Nothing was answered: the strip of loss.
    pub(super) down: RGBColor,
    /// Nothing was answered: the plot.
    pub(super) down_block: RGBColor,
    /// Nothing was answered: words on that block.
    pub(super) down_text: RGBColor,
    /// Nothing was measured.
    pub(super) no_data: RGBColor,
    /// The hatching over it.
    pub(super) hatch: RGBColor,
    /// The limit of latency.
    pub(super) limit: RGBColor,
}

/// The classes of loss: the greatest share that belongs to each, and its name in the legend. All lost is no class of
/// its own: such a row has no median to colour.
pub(super) const LOSS_CLASSES: [(f64, &str); 6] =
    [(0.0, "0 %"), (0.05, "≤5 %"), (0.10, "≤10 %"), (0.25, "≤25 %"), (0.50, "≤50 %"), (1.0, ">50 %")];

/// The index in [`LOSS_CLASSES`] of a share of lost pings.
pub(super) fn loss_class(loss_ratio: f64) -> usize {
    LOSS_CLASSES.iter().position(|(greatest, _)| loss_ratio <= *greatest).unwrap_or(LOSS_CLASSES.len() - 1)
}

impl Theme {
    pub(super) fn colours(self) -> Colours {
        match self {
            Self::Light => LIGHT,
            Self::Dark => DARK,
        }
    }
}

const LIGHT: Colours = Colours {
    background: RGBColor(255, 255, 255),
    plot: RGBColor(250, 251, 252),
    frame: RGBColor(150, 158, 168),
    grid: RGBColor(219, 224, 230),
    fine_grid: RGBColor(238, 241, 244),
    strong_grid: RGBColor(150, 158, 168),
    text: RGBColor(24, 29, 36),
    muted: RGBColor(95, 104, 116),
    smoke: RGBColor(58, 66, 78),
    halo: RGBAColor(255, 255, 255, 0.75),
    loss: [
        RGBColor(0, 145, 95),
        RGBColor(60, 165, 235),
        RGBColor(25, 80, 205),
        RGBColor(140, 50, 190),
        RGBColor(235, 145, 0),
        RGBColor(230, 70, 20),
    ],
    down: RGBColor(178, 0, 32),
    down_block: RGBColor(248, 205, 208),
    down_text: RGBColor(150, 0, 26),
    no_data: RGBColor(228, 231, 235),
    hatch: RGBColor(190, 196, 204),
    limit: RGBColor(190, 24, 93),
};

const DARK: Colours = Colours {
    background: RGBColor(17, 20, 25),
    plot: RGBColor(24, 28, 34),
    frame: RGBColor(94, 103, 115),
    grid: RGBColor(50, 57, 66),
    fine_grid: RGBColor(34, 39, 46),
    strong_grid: RGBColor(105, 114, 126),
    text: RGBColor(229, 233, 238),
    muted: RGBColor(150, 160, 172),
    smoke: RGBColor(205, 214, 226),
    halo: RGBAColor(17, 20, 25, 0.75),
    loss: [
        RGBColor(38, 208, 140),
        RGBColor(125, 205, 255),
        RGBColor(85, 130, 255),
        RGBColor(205, 120, 255),
        RGBColor(255, 190, 60),
        RGBColor(255, 115, 60),
    ],
    down: RGBColor(235, 40, 65),
    down_block: RGBColor(92, 24, 36),
    down_text: RGBColor(255, 170, 180),
    no_data: RGBColor(40, 45, 53),
    hatch: RGBColor(70, 78, 89),
    limit: RGBColor(255, 110, 175),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_with_its_greatest_share() {
        assert_eq!(
            [0.0, 0.01, 0.05, 0.051, 0.10, 0.25, 0.3, 0.5, 0.51, 1.0].map(loss_class),
            [0, 1, 1, 2, 2, 3, 4, 4, 5, 5]
        );
    }
}
