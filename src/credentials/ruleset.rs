//! The rules of gitleaks (`gitleaks/README.md`), read when they are needed.
//!
//! A rule's pattern is compiled only when one of its keywords is in the text,
//! so that a few files cost about as much as a look for the keywords.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use super::rule::{Allow, AllowData, Candidate, Data, Rule, words};
use super::text::Text;
use crate::error::{Fault, failure};

const DATA: &str = include_str!("gitleaks/gitleaks.toml");

#[derive(Deserialize)]
struct File {
    allowlist: AllowData,
    rules: Vec<Data>,
}

/// All rules.
pub(super) struct Ruleset {
    rules: Vec<Rule>,
    allow: Allow,
    keywords: AhoCorasick,
    /// The rule of each keyword.
    owners: Vec<usize>,
}

/// A candidate, and the rule that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match<'a> {
    pub(super) rule: &'a str,
    pub(super) at: Candidate,
}

impl Ruleset {
    /// The rule set of this program.
    ///
    /// # Errors
    /// When the data cannot be read, which a test rules out.
    pub(super) fn get() -> Result<&'static Self, Fault> {
        static RULES: OnceLock<Result<Ruleset, String>> = OnceLock::new();
        RULES.get_or_init(|| Ruleset::read().map_err(|fault| fault.message)).as_ref().map_err(failure)
    }

    fn read() -> Result<Self, Fault> {
        let file: File =
            toml::from_str(DATA).map_err(|error| failure(format!("the secret rules cannot be read: {error}")))?;
        let keywords = file.rules.iter().enumerate();
        let keywords: Vec<(usize, String)> =
            keywords.flat_map(|(n, rule)| rule.keywords.iter().map(move |word| (n, word.clone()))).collect();
        let (owners, keywords): (Vec<usize>, Vec<String>) = keywords.into_iter().unzip();
        let keywords = words(&keywords)?;
        let rules = file.rules.into_iter().map(Rule::new).collect();
        Ok(Ruleset { rules, allow: Allow::new(file.allowlist), keywords, owners })
    }

    /// What the name of a file alone says.
    pub(super) fn name(&self, path: &str) -> Result<Option<&str>, Fault> {
        for rule in self.rules.iter().filter(|rule| rule.is_about_names()) {
            if rule.applies_to(path)? {
                return Ok(Some(rule.id()));
            }
        }
        Ok(None)
    }

    /// Every secret in a text, in the order of the rules.
    pub(super) fn search(&self, path: &str, text: &Text<'_>) -> Result<Vec<Match<'_>>, Fault> {
        let mut hit = vec![false; self.rules.len()];
        for word in self.keywords.find_overlapping_iter(&text.bytes) {
            hit[self.owners[word.pattern().as_usize()]] = true;
        }
        let mut found = Vec::new();
        for rule in self.rules.iter().zip(hit).filter(|(_, hit)| *hit).map(|(rule, _)| rule) {
            if !rule.applies_to(path)? {
                continue;
            }
            for at in rule.search(path, text)? {
                // Most texts have no candidate, and then it is never read.
                if !self.allow.allows(path, text, &at)? {
                    found.push(Match { rule: rule.id(), at });
                }
            }
        }
        Ok(found)
    }
}
