//! The rules of gitleaks (`gitleaks/README.md`), read when they are needed.
//!
//! A rule's pattern is compiled only when one of its keywords is in the text,
//! so that a few files cost about as much as a look for the keywords.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use super::candidate::Candidate;
use super::rule::{Allow, AllowData, Data, Rule, words};
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

#[cfg(test)]
mod tests {
    use super::super::sample::Samples;
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn the_data_is_as_it_was_released() {
        let released = "sha256:e163e53b9e7e8a8511e77271e2b323ed057759542a6d988258afe3a1fa329caf";
        assert_eq!(Digest::of(DATA.as_bytes()).to_string(), released);
    }

    /// A path that a rule is about.
    fn path_for(rule: &Rule) -> &'static str {
        let paths = ["config.txt", "a.php", "a.tf", "a.yaml", "nuget.config", "a.p12"];
        paths.into_iter().find(|path| rule.applies_to(path).unwrap()).unwrap()
    }

    fn finds_itself(set: &Ruleset, rule: &Rule, before: &str) -> bool {
        let (path, mut samples) = (path_for(rule), Samples::default());
        (0..300).any(|_| {
            let text = [before.as_bytes(), b"\n ", &samples.of(rule.regex().unwrap()), b"\n"].concat();
            set.search(path, &Text::of(&text)).unwrap().iter().any(|found| found.rule == rule.id())
        })
    }

    /// Each pattern is made to say an example of itself.
    #[test]
    fn case_48_every_rule_finds_what_it_describes() {
        let set = Ruleset::get().unwrap();
        assert_eq!(set.rules.len(), 222);
        // Where the keyword is no part of what matches, or not for certain.
        let named: Vec<&str> = set
            .rules
            .iter()
            .filter(|rule| !rule.is_about_names())
            .filter(|rule| !finds_itself(set, rule, ""))
            .inspect(|rule| assert!(finds_itself(set, rule, rule.keyword()), "{} finds nothing", rule.id()))
            .map(|rule| rule.id())
            .collect();
        let expected = [
            "airtable-personnal-access-token",
            "facebook-access-token",
            "sidekiq-sensitive-url",
            "slack-config-access-token",
            "slack-webhook-url",
        ];
        assert_eq!(named, expected);
        assert_eq!(set.name("keys/mine.p12").unwrap(), Some("pkcs12-file"));
    }

    /// What makes searches with backtracking last for ever.
    #[test]
    fn hostile_texts_take_no_longer_than_others() {
        let parts: [&[u8]; 8] = [
            b"curl -u ",
            b"curl curl -H 'Authorization: ",
            b"-----BEGIN PRIVATE KEY-----",
            b"api_key=",
            b"kind: secret data: ",
            b"token token.token-",
            b"a",
            b"ey0.ey0",
        ];
        let set = Ruleset::get().unwrap();
        // What this thread has worked, whatever else the machine does.
        let worked = || {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        let clock = |text: &[u8]| {
            let once = || {
                let start = worked();
                set.search("a.yaml", &Text::of(text)).unwrap();
                worked() - start
            };
            once().min(once())
        };
        for part in parts {
            let small = clock(&part.repeat((512 << 10) / part.len()));
            let large = clock(&part.repeat((8 << 20) / part.len()));
            // Sixteen times the text; the square would be 256 times.
            assert!(large < small * 128, "{}: {small:?}, {large:?}", part.escape_ascii());
        }
    }
}
