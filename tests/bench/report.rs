//! What a benchmark found: samples with their spread, ratios with their aims; a table and JSON.

use comfy_table::Table;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The machine's clock, for measuring.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Samples of one thing, in one unit.
pub(crate) struct Samples {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    values: Vec<f64>,
}

impl Samples {
    pub(crate) fn new(name: &str, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            values: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    pub(crate) fn add_ms(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1_000.0);
    }

    /// The value below which this part of the samples lies (nearest rank).
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "samples are few"
        )]
        let rank = (part * self.values.len() as f64).ceil() as usize;
        let last = self.values.len().saturating_sub(1);
        let index = rank.saturating_sub(1).min(last);
        self.values.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The middle value; between the two middle ones where the number is even.
    pub(crate) fn median(&self) -> f64 {
        let (half, values) = (self.values.len() / 2, &self.values);
        match (values.len() % 2, values.get(half)) {
            (0, Some(upper)) => f64::midpoint(values[half - 1], *upper),
            (_, middle) => middle.copied().unwrap_or(f64::NAN),
        }
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    fn cells(&self) -> Vec<String> {
        let shown = |value: f64| format!("{value:.2}");
        vec![
            self.name.clone(),
            self.values.len().to_string(),
            shown(self.median()),
            shown(self.p99()),
            shown(self.quantile(0.0)),
            shown(self.quantile(1.0)),
            self.unit.into(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "samples": self.values.len(),
            "median": self.median(),
            "p99": self.p99(),
            "min": self.quantile(0.0),
            "max": self.quantile(1.0),
            "values": self.values,
        })
    }
}

/// Which side of an aim is good.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

/// What one benchmark found.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) samples: Vec<Samples>,
    pub(crate) ratio: (&'static str, f64, Aim),
}

impl Report {
    pub(crate) fn show(&self) {
        let mut table = Table::new();
        table.set_header(["", "samples", "median", "p99", "min", "max", "unit"]);
        for samples in &self.samples {
            table.add_row(samples.cells());
        }
        let (what, value, aim) = self.ratio;
        let verdict = if aim.is_met(value) { "met" } else { "MISSED" };
        println!("\n{}: {}", self.name, self.about);
        println!("{table}");
        println!("{what}: {value:.2} (aim: {aim}; {verdict})");
    }

    /// Writes `target/bench/NAME.json`.
    pub(crate) fn save(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        let (what, value, aim) = self.ratio;
        let text = json!({
            "name": self.name,
            "about": self.about,
            "samples": self.samples.iter().map(Samples::json).collect::<Vec<_>>(),
            "ratio": {"of": what, "value": value, "aim": aim.to_string(), "met": aim.is_met(value)},
        });
        let path = folder.join(format!("{}.json", self.name));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, format!("{text:#}\n")))
            .unwrap_or_else(|error| panic!("cannot write {path:?}: {error}"));
    }
}
