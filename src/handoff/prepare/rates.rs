//! What this machine has measured: how fast parts arrive, and how long steps
//! take. Says how many seconds an enter will need; losing it costs nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::handoff::fetch::Part;
use crate::handoff::report::Report;

/// How much a new measurement counts beside the old ones.
const WEIGHT: f64 = 0.4;

/// Fewer bytes than this say nothing about a rate.
const ENOUGH: u64 = 64 << 10;

/// Steps whose time does not depend on bytes.
const STEPS: [&str; 5] = ["hydrate.workspace", "hydrate.cache", "seal", "start", "reset"];

/// Measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rates {
    /// Milliseconds of a step.
    ms: BTreeMap<String, f64>,
    /// Bytes per millisecond of a step that moves them.
    rate: BTreeMap<String, f64>,
}

impl Rates {
    fn read(app: &App) -> Self {
        disk::read_json(&app.paths.rates()).ok().flatten().unwrap_or_default()
    }

    fn learn(&mut self, report: &Report) {
        let blend = |known: Option<&f64>, new: f64| known.map_or(new, |known| known * (1.0 - WEIGHT) + new * WEIGHT);
        for step in &report.steps {
            if step.name.starts_with("fetch.") && step.bytes >= ENOUGH && step.ms > 0.0 {
                let value = blend(self.rate.get(step.name), step.bytes as f64 / step.ms);
                self.rate.insert(step.name.into(), value);
            } else if STEPS.contains(&step.name) {
                let value = blend(self.ms.get(step.name), step.ms);
                self.ms.insert(step.name.into(), value);
            }
        }
    }

    /// Seconds that an enter will take that needs these parts; `None` where one was never
    /// measured here.
    fn expect(&self, parts: &[Part]) -> Option<f64> {
        let mut ms = self.ms.get("start")? + self.ms.get("reset").unwrap_or(&0.0);
        for part in parts.iter().filter(|part| !part.hit) {
            ms += match (part.kind, part.bytes) {
                ("workspace", _) => *self.ms.get("hydrate.workspace")?,
                ("cache", None) => *self.ms.get("seal")?,
                // How much it is, only the remote knows.
                ("commits", None) => 0.0,
                (kind, Some(bytes)) => bytes as f64 / self.rate_of(kind)?,
                (_, None) => return None,
            };
        }
        Some((ms / 10.0).round() / 100.0)
    }

    /// What moves through one network moves alike.
    fn rate_of(&self, kind: &str) -> Option<f64> {
        let own = match kind {
            "layer" => "fetch.image",
            "cache" => "fetch.cache",
            "snapshot" => "fetch.snapshot",
            _ => "fetch.repo",
        };
        let fallback = || self.rate.get("fetch.image").or_else(|| self.rate.values().next());
        self.rate.get(own).or_else(fallback).copied().filter(|rate| *rate > 0.0)
    }
}

/// Whether a report says something that is worth remembering.
pub(crate) fn is_news(report: &Report) -> bool {
    report.steps.iter().any(|step| step.bytes >= ENOUGH || step.name == "seal" || step.name == "hydrate.workspace")
}

/// Remembers how long things took.
pub(crate) fn learn(app: &App, report: &Report) {
    let mut rates = Rates::read(app);
    rates.learn(report);
    let _ = disk::write_json(&app.paths.rates(), &rates, Durability::Cached);
}

/// Seconds that a plan will take here.
pub(crate) fn expect(app: &App, parts: &[Part]) -> Option<f64> {
    Rates::read(app).expect(parts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    fn part(kind: &'static str, hit: bool, bytes: Option<u64>) -> Part {
        Part { kind, name: String::new(), hit, bytes }
    }

    #[test]
    fn what_was_measured_decides_and_what_was_not_is_unknown() {
        let mut rates = Rates::default();
        let layer = || [part("layer", false, Some(100 << 20)), part("workspace", false, Some(0))];
        assert_eq!(rates.expect(&layer()), None);
        let mut report = Report::default();
        report.note("fetch.image", Duration::from_secs(1), 50 << 20);
        report.note("hydrate.workspace", Duration::from_millis(500), 0);
        report.note("start", Duration::from_millis(10), 0);
        rates.learn(&report);
        assert_eq!(rates.expect(&layer()), Some(2.51));
        assert_eq!(rates.expect(&[part("layer", true, Some(0))]), Some(0.01));
        assert_eq!(rates.expect(&[part("cache", false, None)]), None, "no setup ever ran");
        // A slower day counts for a part.
        let mut slower = Report::default();
        slower.note("fetch.image", Duration::from_secs(2), 50 << 20);
        rates.learn(&slower);
        let expected = rates.expect(&layer()).unwrap();
        assert!(expected > 2.6 && expected < 4.0, "{expected}");
    }
}
