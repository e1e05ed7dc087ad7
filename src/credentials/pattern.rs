//! From the patterns of the rule set, which are Go's, to ours.
//!
//! They match bytes, and classes are ASCII, as in Go without its Unicode
//! classes. The engine has no backtracking: a search is linear in its text.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::error::{Fault, failure};

/// What many rules begin with: the rest of the name in front of a keyword. It
/// decides nothing but where a match begins, and costs much.
const CONTEXT: &str = r"[\w.-]{0,50}?";
/// How far one of them reaches.
const REACH: usize = 50;

/// A pattern, with what it has in front of its keyword taken off.
pub(super) struct Pattern {
    regex: Regex,
    /// How far the match reaches to the left, over characters of names.
    context: usize,
}

impl Pattern {
    /// # Errors
    /// When the engine does not know the pattern.
    pub(super) fn new(pattern: &str) -> Result<Self, Fault> {
        let insensitive = format!("(?i){CONTEXT}");
        let twice = format!("{CONTEXT}(?i:{CONTEXT}");
        let (pattern, context) = match (pattern.strip_prefix(&insensitive), pattern.strip_prefix(&twice)) {
            (Some(rest), _) => (format!("(?i){rest}"), REACH),
            (_, Some(rest)) => (format!("(?i:{rest}"), 2 * REACH),
            _ => (pattern.to_owned(), 0),
        };
        Ok(Pattern { regex: one(&pattern)?, context })
    }

    pub(super) fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Whether the name in front of a secret is what it is known by.
    pub(super) fn has_context(&self) -> bool {
        self.context > 0
    }

    /// Where the match that the whole pattern has begins.
    pub(super) fn start(&self, text: &[u8], at: usize) -> usize {
        let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        at - text[..at].iter().rev().take(self.context).take_while(|byte| name(byte)).count()
    }
}

/// Compiles one pattern.
///
/// # Errors
/// When the engine does not know it.
pub(super) fn one(pattern: &str) -> Result<Regex, Fault> {
    let built = RegexBuilder::new(&literal_braces(pattern)).unicode(false).build();
    built.map_err(|error| unknown(pattern, &error))
}

/// Compiles several patterns, of which any may match.
///
/// # Errors
/// When the engine does not know one of them.
pub(super) fn any(patterns: &[String]) -> Result<RegexSet, Fault> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| literal_braces(pattern)).collect();
    let built = RegexSetBuilder::new(&patterns).unicode(false).build();
    built.map_err(|error| unknown(&patterns.join(" | "), &error))
}

fn unknown(pattern: &str, error: &regex::Error) -> Fault {
    failure(format!("the pattern {pattern:?} of a secret rule cannot be read: {error}"))
}

/// In Go a brace that begins no repetition stands for itself.
fn literal_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(rest.next());
            }
            '{' if !begins_repetition(rest.as_str()) => out.push_str("\\{"),
            _ => out.push(c),
        }
    }
    out
}

/// `3}`, `3,}` or `3,5}`.
fn begins_repetition(rest: &str) -> bool {
    let Some((inner, _)) = rest.split_once('}') else { return false };
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    !least.is_empty() && number(least) && number(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_go_are_read() {
        for (pattern, text) in [
            (r"^\$(?:\d+|{\d+})$", "${7}"),
            (r"^\{\{[a-z]{2,3}}}$", "{{abc}}"),
            (r"x{2}y{1,}", "xxyyy"),
            (r"\${{\w+}}", "${{a}}"),
        ] {
            assert!(one(pattern).unwrap().is_match(text.as_bytes()), "{pattern}");
        }
        assert!(one("(").is_err());
    }

    #[test]
    fn context_decides_where_a_match_begins_and_nothing_else() {
        let whole = r"(?i)[\w.-]{0,50}?(?:key)[=]([a-z0-9]{4})";
        let pattern = Pattern::new(whole).unwrap();
        let long = "n".repeat(60);
        for text in ["my.api_KEY=ab12;", "key=ab12", "keykey=keykey=ab12", &format!("{long}key=ab12"), "é.key=ab12"] {
            let text = text.as_bytes();
            let (short, full) = (pattern.regex().find(text).unwrap(), one(whole).unwrap().find(text).unwrap());
            assert_eq!(short.end(), full.end());
            assert_eq!(pattern.start(text, short.start()), full.start(), "{}", text.escape_ascii());
        }
    }
}
