//! Draws an inline SVG: horizontal positions are shares of its width, vertical ones are pixels.
//!
//! A chart is therefore as wide as its column, and its letters keep their size. Colours are classes of the style sheet.

use std::fmt::Write as _;

use crate::estimate::report::html::markup::Markup;

#[derive(Debug)]
pub(super) struct Plot {
    body: Markup,
    height: u32,
}

/// Which end of a text is at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }

    /// Keeps a label at `x` percent inside the chart.
    pub(super) fn inside(x: f64) -> Self {
        match x {
            _ if x < 6.0 => Self::Start,
            _ if x > 94.0 => Self::End,
            _ => Self::Middle,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Dot,
    Diamond,
    Tick,
}

impl Mark {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Dot => "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z",
            Self::Diamond => "M0 -5.5L5.5 0L0 5.5L-5.5 0z",
            Self::Tick => "M-1.5 -8h3v16h-3z",
        }
    }
}

impl Plot {
    pub(super) fn new(height: u32) -> Self {
        Self { body: Markup::new(), height }
    }

    /// `tip` appears under the pointer.
    pub(super) fn bar(&mut self, x: (f64, f64), y: (f64, f64), class: &'static str, tip: &str) {
        let (left, right) = x;
        let (x, width) = (percent(left), percent((right - left).max(0.0)));
        let (y, height) = (pixels(y.0), pixels((y.1 - y.0).max(0.0)));
        let place = [
            ("x", x.as_str()),
            ("y", &y),
            ("width", &width),
            ("height", &height),
            ("class", class),
        ];
        if tip.is_empty() {
            self.body.leaf("rect", &place);
        } else {
            self.body.within("rect", &place, |bar| bar.element("title", &[], tip));
        }
    }

    pub(super) fn line(&mut self, x: (f64, f64), y: (f64, f64), class: &'static str) {
        let ends = [percent(x.0), pixels(y.0), percent(x.1), pixels(y.1)];
        self.body.leaf(
            "line",
            &[
                ("x1", &ends[0]),
                ("y1", &ends[1]),
                ("x2", &ends[2]),
                ("y2", &ends[3]),
                ("class", class),
            ],
        );
    }

    /// One line of text on the base line `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &'static str, text: &str) {
        let (x, y) = (percent(x), pixels(y));
        let place =
            [("x", x.as_str()), ("y", &y), ("text-anchor", anchor.name()), ("class", class)];
        self.body.element("text", &place, text);
    }

    /// A mark of a fixed size.
    pub(super) fn mark(&mut self, x: f64, y: f64, mark: Mark, class: &'static str, tip: &str) {
        let (x, y) = (percent(x), pixels(y));
        // A nested drawing, because a path takes no percentages.
        self.body.within("svg", &[("x", &x), ("y", &y), ("overflow", "visible")], |at| {
            at.within("path", &[("d", mark.path()), ("class", class)], |path| {
                path.element("title", &[], tip);
            });
        });
    }

    /// Lines across the chart from `top` to `bottom`, with labels below.
    pub(super) fn axis(
        &mut self,
        scale: &Scale,
        top: f64,
        bottom: f64,
        label: impl Fn(f64) -> String,
    ) {
        let ticks = scale.ticks().into_iter().map(|tick| (scale.at(tick), label(tick)));
        let ticks: Vec<_> = ticks.collect();
        for (x, _) in &ticks {
            self.line((*x, *x), (top, bottom), "grid");
        }
        for (x, label) in apart(ticks) {
            self.text(x, bottom + 16.0, Anchor::inside(x), "tick", &label);
        }
    }

    /// The chart with a name and a description for screen readers.
    pub(super) fn finish(self, id: &str, title: &str, description: &str) -> Markup {
        let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
        let height = self.height.to_string();
        let labels = format!("{title_id} {description_id}");
        let mut markup = Markup::new();
        let place = [
            ("class", "chart"),
            ("role", "img"),
            ("width", "100%"),
            ("height", &height),
            ("aria-labelledby", &labels),
        ];
        markup.within("svg", &place, |svg| {
            svg.element("title", &[("id", &title_id)], title);
            svg.element("desc", &[("id", &description_id)], description);
            svg.append(&self.body);
        });
        markup
    }
}

/// The least gap between labels, in percent of a narrow phone's chart, as all widths here: 3 of 279 pixels.
const GAP: f64 = 1.0;

/// In a wide font: 12 pixels of DejaVu Sans.
fn width(label: &str) -> f64 {
    let of = |letter: char| match letter {
        ' ' | '.' | ',' | 'i' => 1.4,
        's' => 2.3,
        '%' | '×' | 'M' | 'G' => 4.1,
        _ => 2.75,
    };
    label.chars().map(of).sum()
}

/// The labels that fit: the first, the last, and those between that touch no other.
fn apart(labels: Vec<(f64, String)>) -> Vec<(f64, String)> {
    let ends = |(x, label): &(f64, String)| {
        let width = width(label);
        let left = match Anchor::inside(*x) {
            Anchor::Start => *x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        (left, left + width)
    };
    let Some((last, others)) = labels.split_last() else { return labels };
    let limit = ends(last).0 - GAP;
    let mut kept: Vec<(f64, String)> = Vec::with_capacity(labels.len());
    for label in others {
        let after = kept.last().is_none_or(|before| ends(before).1 + GAP <= ends(label).0);
        if after && (kept.is_empty() || ends(label).1 <= limit) {
            kept.push(label.clone());
        }
    }
    kept.push(last.clone());
    kept
}

/// Maps a value to `0..=100` percent of the width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Ticks are round in this unit.
    Linear { from: f64, to: f64, unit: f64 },
    /// Each doubling has the same length.
    Log { from: f64, to: f64 },
}

impl Scale {
    /// From 0 to a little more than `max`.
    pub(super) fn up_to(max: f64) -> Self {
        Self::between(0.0, max * 1.02)
    }

    /// An empty span becomes 1.
    pub(super) fn between(from: f64, to: f64) -> Self {
        let span = to - from;
        let to = if span.is_finite() && span > 0.0 { to } else { from + 1.0 };
        Self::Linear { from, to, unit: 1.0 }
    }

    /// From 0 to a little more than `max` bytes, in their usual unit.
    pub(super) fn bytes_up_to(max: f64) -> Self {
        let max = if max.is_finite() { max.max(1.0) } else { 1.0 };
        let unit = (0..4).rev().map(|power| 1024_f64.powi(power)).find(|&unit| unit <= max);
        Self::Linear { from: 0.0, to: max * 1.02, unit: unit.unwrap_or(1.0) }
    }

    /// From the last step of 1, 2, 5, 10, .. below `min` to the first above `max`.
    pub(super) fn log(min: f64, max: f64) -> Self {
        let from = steps(min.max(1e-3)).filter(|&step| step <= min).last();
        let to = steps(min.max(1e-3)).find(|&step| step > max);
        Self::Log { from: from.unwrap_or(1e-3), to: to.unwrap_or(1e9) }
    }

    /// In percent; values outside the scale go to its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match *self {
            Self::Linear { from, to, .. } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        share.clamp(0.0, 1.0) * 100.0
    }

    /// Round values, at most seven.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match *self {
            Self::Linear { from, to, unit } => {
                let step = step_of((to - from) / 4.0 / unit) * unit;
                let first = (from / step - 1e-9).ceil();
                let count = ((to / step + 1e-9).floor() - first).max(0.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a step is at least a tenth of the span"
                )]
                let count = count as u32;
                (0..=count).map(|number| (first + f64::from(number)) * step).collect()
            }
            Self::Log { from, to } => {
                let all: Vec<_> = steps(from)
                    .skip_while(|&step| step < from * 0.999)
                    .take_while(|&step| step <= to * 1.001)
                    .collect();
                let each = all.len().div_ceil(7);
                all.into_iter().step_by(each).collect()
            }
        }
    }
}

/// 1, 2, 5, 10, 20, .. and the same below 1, from one not above `min` to 1e9.
fn steps(min: f64) -> impl Iterator<Item = f64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of an f64 is a few hundred at most"
    )]
    let decade = min.log10().floor() as i32;
    (decade..9).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(decade)))
}

/// The smallest step of 1, 2, 5, 10, .. that is at least `least`.
fn step_of(least: f64) -> f64 {
    let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
    let decade = 10_f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * decade >= least * 0.999);
    round.unwrap_or(10.0) * decade
}

fn percent(share: f64) -> String {
    let mut text = trimmed(share);
    text.push('%');
    text
}

fn pixels(number: f64) -> String {
    trimmed(number)
}

/// At most two decimals, no zeros at the end. A value that is no number becomes 0, so the drawing stays valid.
fn trimmed(number: f64) -> String {
    let mut text = String::new();
    let number = if number.is_finite() { number } else { 0.0 };
    // A write to a string cannot fail.
    let _ = write!(text, "{number:.2}");
    let kept = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(kept);
    text
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
