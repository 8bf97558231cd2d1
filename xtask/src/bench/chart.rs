//! Horizontal bars in pairs, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLACK, Color as _, DrawingBackend, IntoDrawingArea as _, IntoFont as _, RGBColor, Rectangle, SVGBackend, Text,
    WHITE,
};

const WIDTH: u32 = 900;
/// Where bars begin, and how long the longest is.
const LABELS: i32 = 280;
const LENGTH: f64 = 500.0;
const HEADING: i32 = 60;
const BAR: i32 = 14;
const GROUP: i32 = 40;
/// Two colours that people who see few of them tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0)];
/// Where a logarithmic axis begins: what is smaller is drawn as nothing.
const SMALLEST: f64 = 0.1;

/// How many percent `with` is more than `without`.
pub(super) fn overhead(without: u64, with: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let ratio = with as f64 / without.max(1) as f64;
    (ratio - 1.0) * 100.0
}

/// What a chart says beside its bars.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Of the two bars of each group.
    pub(super) names: [&'static str; 2],
    pub(super) logarithmic: bool,
}

impl Chart {
    /// The chart's text, with the value at the end of each bar.
    pub(super) fn draw(&self, groups: &[(String, [f64; 2])]) -> Result<String> {
        let mut svg = String::new();
        let height = HEADING + GROUP * i32::try_from(groups.len())?;
        let backend = SVGBackend::with_string(&mut svg, (WIDTH, u32::try_from(height)?));
        self.draw_on(backend, groups).map_err(|error| anyhow!("cannot draw a chart: {error}"))?;
        Ok(svg)
    }

    fn draw_on<B: DrawingBackend>(&self, backend: B, groups: &[(String, [f64; 2])]) -> Result<(), String> {
        let area = backend.into_drawing_area();
        let words = |text: String, x: i32, y: i32, size: u32| {
            area.draw(&Text::new(text, (x, y), ("sans-serif", size).into_font().color(&BLACK)))
                .map_err(|error| error.to_string())
        };
        let bar = |x: i32, y: i32, length: i32, colour: &RGBColor| {
            let corners = [(x, y), (x + length, y + BAR)];
            area.draw(&Rectangle::new(corners, colour.filled())).map_err(|error| error.to_string())
        };
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        words(self.title.to_owned(), 10, 8, 17)?;
        for (x, (name, colour)) in [LABELS, LABELS + 220].into_iter().zip(self.names.iter().zip(&COLOURS)) {
            bar(x, 34, BAR, colour)?;
            words((*name).to_owned(), x + BAR + 6, 34, 14)?;
        }
        let longest = groups.iter().flat_map(|(_, values)| values).fold(SMALLEST, |longest, value| longest.max(*value));
        for (top, (label, values)) in (0..).map(|number| HEADING + GROUP * number).zip(groups) {
            words(label.clone(), 10, top + BAR / 2, 14)?;
            for ((value, colour), y) in values.iter().zip(&COLOURS).zip([top, top + BAR + 1]) {
                let length = self.length(*value, longest);
                bar(LABELS, y, length, colour)?;
                let text = if self.logarithmic { format!("{value:+.1} %") } else { format!("{value:.0}") };
                words(text, LABELS + length + 6, y, 13)?;
            }
        }
        area.present().map_err(|error| error.to_string())
    }

    /// Pixels, for a value of which the longest bar has `longest`.
    fn length(&self, value: f64, longest: f64) -> i32 {
        let share = if self.logarithmic {
            (value.max(SMALLEST) / SMALLEST).ln() / (longest / SMALLEST).ln()
        } else {
            value / longest
        };
        #[expect(clippy::cast_possible_truncation, reason = "pixels of a chart")]
        let pixels = (share * LENGTH).round() as i32;
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_say() {
        let linear = Chart { title: "t", names: ["a", "b"], logarithmic: false };
        assert_eq!([0.0, 1.0, 4.0].map(|value| linear.length(value, 4.0)), [0, 125, 500]);
        let logarithmic = Chart { logarithmic: true, ..linear };
        assert_eq!([-3.0, 0.1, 1.0, 10.0].map(|value| logarithmic.length(value, 10.0)), [0, 0, 250, 500]);
        let svg = logarithmic.draw(&[("work".to_owned(), [1.0, 10.0])]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("work") && svg.contains("+10.0 %"), "{svg}");
        assert!((overhead(200, 300) - 50.0).abs() < 1e-9);
    }
}
