//! One secret is told once: by the rule that says most about it.

use super::rule::VAGUE;
use super::ruleset::Match;

/// Leaves out what a better rule has found at the same place.
pub(super) fn dedupe<'a>(found: Vec<Match<'a>>) -> Vec<Match<'a>> {
    let exact: Vec<_> = found.iter().filter(|found| !is_vague(found)).map(|found| found.at.whole.clone()).collect();
    let covered = |found: &Match<'a>| {
        exact.iter().any(|other| other.start < found.at.secret.end && found.at.secret.start < other.end)
    };
    found.into_iter().filter(|found| !is_vague(found) || !covered(found)).collect()
}

fn is_vague(found: &Match<'_>) -> bool {
    found.rule == VAGUE
}
