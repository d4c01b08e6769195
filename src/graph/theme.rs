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
    /// The same where the stretch is a line only.
    pub(super) down_line: RGBColor,
    /// Nothing was answered: words on that block.
    pub(super) down_text: RGBColor,
    /// Nothing was measured.
    pub(super) no_data: RGBColor,
    /// The hatching over it.
    pub(super) hatch: RGBColor,
    /// The limit of latency.
    pub(super) limit: RGBColor,
    /// The ground of a span that is pointed at; the grid shows through.
    pub(super) mark: RGBAColor,
    /// Where such a span begins, and the bar along its upper edge.
    pub(super) mark_line: RGBColor,
    /// Its label.
    pub(super) mark_text: RGBColor,
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
    strong_grid: RGBColor(176, 184, 194),
    text: RGBColor(24, 29, 36),
    muted: RGBColor(95, 104, 116),
    smoke: RGBColor(58, 66, 78),
    halo: RGBAColor(255, 255, 255, 0.75),
    loss: [
        RGBColor(0, 145, 95),
        RGBColor(70, 170, 240),
        RGBColor(20, 70, 190),
        RGBColor(200, 80, 190),
        RGBColor(245, 165, 0),
        RGBColor(220, 60, 10),
    ],
    down: RGBColor(155, 0, 28),
    down_block: RGBColor(248, 205, 208),
    down_line: RGBColor(226, 110, 122),
    down_text: RGBColor(150, 0, 26),
    no_data: RGBColor(228, 231, 235),
    hatch: RGBColor(190, 196, 204),
    limit: RGBColor(190, 24, 93),
    mark: RGBAColor(255, 184, 28, 0.22),
    mark_line: RGBColor(224, 138, 0),
    mark_text: RGBColor(122, 72, 0),
};

const DARK: Colours = Colours {
    background: RGBColor(17, 20, 25),
    plot: RGBColor(24, 28, 34),
    frame: RGBColor(94, 103, 115),
    grid: RGBColor(50, 57, 66),
    fine_grid: RGBColor(34, 39, 46),
    strong_grid: RGBColor(84, 93, 105),
    text: RGBColor(229, 233, 238),
    muted: RGBColor(150, 160, 172),
    smoke: RGBColor(205, 214, 226),
    halo: RGBAColor(17, 20, 25, 0.75),
    loss: [
        RGBColor(38, 200, 130),
        RGBColor(150, 220, 255),
        RGBColor(70, 125, 255),
        RGBColor(225, 130, 240),
        RGBColor(255, 210, 80),
        RGBColor(255, 115, 40),
    ],
    down: RGBColor(215, 20, 60),
    down_block: RGBColor(92, 24, 36),
    down_line: RGBColor(160, 34, 54),
    down_text: RGBColor(255, 170, 180),
    no_data: RGBColor(40, 45, 53),
    hatch: RGBColor(70, 78, 89),
    limit: RGBColor(255, 110, 175),
    mark: RGBAColor(255, 196, 60, 0.17),
    mark_line: RGBColor(255, 190, 50),
    mark_text: RGBColor(255, 214, 130),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What eyes without red, green or blue cones see of linear light: Machado, Oliveira and Fernandes, "A
    /// Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
    const EYES: [(&str, [[f64; 3]; 3]); 4] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "no red",
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
        ),
        (
            "no green",
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ),
        (
            "no blue",
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ],
        ),
    ];

    fn times(matrix: [[f64; 3]; 3], light: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum())
    }

    /// CIE L*a*b* of a colour as those eyes see it.
    fn seen(RGBColor(red, green, blue): RGBColor, eyes: [[f64; 3]; 3]) -> [f64; 3] {
        let linear = [red, green, blue].map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let light = times(eyes, linear).map(|value| value.clamp(0.0, 1.0));
        let xyz =
            times([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], light);
        let root = |value: f64| if value > 0.008856 { value.cbrt() } else { 7.787 * value + 16.0 / 116.0 };
        let [x, y, z] = [root(xyz[0] / 0.9505), root(xyz[1]), root(xyz[2] / 1.089)];
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// A difference of 2.3 is just noticeable side by side; some times that is needed across a picture.
    #[test]
    fn the_colours_of_loss_differ_to_all_eyes() {
        for colours in [LIGHT, DARK] {
            let all: Vec<RGBColor> = colours.loss.into_iter().chain([colours.down]).collect();
            for (name, eyes) in EYES {
                for (index, one) in all.iter().enumerate() {
                    for other in &all[index + 1..] {
                        let (one_seen, other_seen) = (seen(*one, eyes), seen(*other, eyes));
                        let difference: f64 =
                            one_seen.iter().zip(other_seen).map(|(a, b)| (a - b).powi(2)).sum();
                        assert!(
                            difference.sqrt() > 15.0,
                            "{name}: {one:?} and {other:?}: {}",
                            difference.sqrt()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_class_ends_with_its_greatest_share() {
        assert_eq!(
            [0.0, 0.01, 0.05, 0.051, 0.10, 0.25, 0.3, 0.5, 0.51, 1.0].map(loss_class),
            [0, 1, 1, 2, 2, 3, 4, 4, 5, 5]
        );
    }
}
