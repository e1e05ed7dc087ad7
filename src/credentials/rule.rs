//! One rule of the set: its pattern, and what it takes for no secret. Both are
//! compiled when they are needed for the first time.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::bytes::RegexSet;
use serde::Deserialize;

use super::candidate::Candidate;
use super::noise;
use super::pattern::{self, Pattern};
use super::text::Text;
use crate::error::{Fault, failure};

/// The rule that knows a secret by a general name only: `key`, `token`.
pub(super) const VAGUE: &str = "generic-api-key";
/// The rule whose secrets have a form that can be checked.
const PRIVATE_KEY: &str = "private-key";

/// A rule as the data has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Data {
    pub(super) id: String,
    #[serde(rename = "description")]
    _description: String,
    pub(super) regex: Option<String>,
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) keywords: Vec<String>,
    #[serde(default)]
    entropy: f64,
    #[serde(default)]
    secret_group: usize,
    #[serde(default)]
    allowlists: Vec<AllowData>,
}

/// An allow list as the data has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AllowData {
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    condition: Condition,
    #[serde(default)]
    regex_target: Target,
    #[serde(default)]
    regexes: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    stopwords: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Condition {
    #[default]
    Or,
    And,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    #[default]
    Secret,
    Match,
    Line,
}

/// A rule at work.
pub(super) struct Rule {
    data: Data,
    allow: Vec<Allow>,
    pattern: OnceLock<Result<Pattern, String>>,
    path: OnceLock<Result<RegexSet, String>>,
}

impl Rule {
    pub(super) fn new(mut data: Data) -> Self {
        let allow = std::mem::take(&mut data.allowlists).into_iter().map(Allow::new).collect();
        Rule { data, allow, pattern: OnceLock::new(), path: OnceLock::new() }
    }

    pub(super) fn id(&self) -> &str {
        &self.data.id
    }

    /// The pattern as the data has it.
    #[cfg(test)]
    pub(super) fn regex(&self) -> Option<&str> {
        self.data.regex.as_deref()
    }

    /// One of its keywords.
    #[cfg(test)]
    pub(super) fn keyword(&self) -> &str {
        &self.data.keywords[0]
    }

    /// Whether the rule is about files with this name; most are about all.
    pub(super) fn applies_to(&self, path: &str) -> Result<bool, Fault> {
        let Some(pattern) = &self.data.path else { return Ok(true) };
        let set = kept(&self.path, || pattern::any(std::slice::from_ref(pattern)))?;
        Ok(set.is_match(path.as_bytes()))
    }

    /// Whether the name of a file is all that the rule is about.
    pub(super) fn is_about_names(&self) -> bool {
        self.data.regex.is_none()
    }

    /// The secrets in a text that neither look too orderly nor are on one of
    /// the rule's allow lists.
    pub(super) fn search(&self, path: &str, text: &Text<'_>) -> Result<Vec<Candidate>, Fault> {
        let Some(regex) = &self.data.regex else { return Ok(Vec::new()) };
        let pattern = kept(&self.pattern, || Pattern::new(regex))?;
        let bytes = &text.bytes;
        let mut found = Vec::new();
        for groups in pattern.regex().captures_iter(bytes) {
            let Some(whole) = groups.get(0) else { continue };
            let chosen = match self.data.secret_group {
                0 => groups.iter().skip(1).flatten().find(|group| !group.is_empty()).unwrap_or(whole),
                n => groups.get(n).unwrap_or(whole),
            };
            let candidate =
                Candidate { whole: pattern.start(bytes, whole.start())..whole.end(), secret: chosen.range() };
            // A rule without a threshold takes what matches.
            let orderly = self.data.entropy > 0.0 && entropy(chosen.as_bytes()) <= self.data.entropy;
            let noise = match self.id() {
                VAGUE => noise::is_code(bytes, &candidate) || noise::is_no_secret(bytes, &candidate),
                PRIVATE_KEY => !noise::holds_a_key(whole.as_bytes()),
                _ => pattern.has_context() && noise::is_code(bytes, &candidate),
            };
            if !orderly && !noise && !self.allows(path, text, &candidate)? {
                found.push(candidate);
            }
        }
        Ok(found)
    }

    fn allows(&self, path: &str, text: &Text<'_>, candidate: &Candidate) -> Result<bool, Fault> {
        for allow in &self.allow {
            if allow.allows(path, text, candidate)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is known to be no secret.
pub(super) struct Allow {
    data: AllowData,
    regexes: OnceLock<Result<RegexSet, String>>,
    paths: OnceLock<Result<RegexSet, String>>,
    stopwords: OnceLock<Result<AhoCorasick, String>>,
}

impl Allow {
    pub(super) fn new(data: AllowData) -> Self {
        Allow { data, regexes: OnceLock::new(), paths: OnceLock::new(), stopwords: OnceLock::new() }
    }

    pub(super) fn allows_path(&self, path: &str) -> Result<bool, Fault> {
        let set = kept(&self.paths, || pattern::any(&self.data.paths))?;
        Ok(set.is_match(path.as_bytes()))
    }

    pub(super) fn allows(&self, path: &str, text: &Text<'_>, candidate: &Candidate) -> Result<bool, Fault> {
        let secret = &text.bytes[candidate.secret.clone()];
        let target = match self.data.regex_target {
            Target::Secret => secret,
            Target::Match => &text.bytes[candidate.whole.clone()],
            Target::Line => text.lines(&candidate.whole),
        };
        let mut answers = Vec::new();
        if !self.data.regexes.is_empty() {
            answers.push(kept(&self.regexes, || pattern::any(&self.data.regexes))?.is_match(target));
        }
        if !self.data.paths.is_empty() {
            answers.push(self.allows_path(path)?);
        }
        if !self.data.stopwords.is_empty() {
            answers.push(kept(&self.stopwords, || words(&self.data.stopwords))?.is_match(secret));
        }
        Ok(match self.data.condition {
            Condition::Or => answers.contains(&true),
            Condition::And => !answers.is_empty() && !answers.contains(&false),
        })
    }
}

/// Finds any of these words, whatever their case.
///
/// # Errors
/// When there are too many.
pub(super) fn words(words: &[String]) -> Result<AhoCorasick, Fault> {
    let built = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
    built.map_err(|error| failure(format!("the words of a secret rule cannot be read: {error}")))
}

/// Makes something once, also when that fails.
fn kept<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Result<T, Fault>) -> Result<&T, Fault> {
    cell.get_or_init(|| make().map_err(|fault| fault.message)).as_ref().map_err(failure)
}

/// Shannon's entropy of the bytes, in bits a byte.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = bytes.len() as f64;
    let share = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    share.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_shannon() {
        assert_eq!(entropy(b""), 0.0);
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abab"), 1.0);
        assert_eq!(entropy(b"0123456789abcdef"), 4.0);
    }
}
