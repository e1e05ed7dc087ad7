//! `.dockerignore`: which files of a context an engine would not see. The rules are
//! those of the engines: the last line that matches decides, a folder takes along
//! what is in it, and `!` brings something back.

use regex::bytes::Regex;

use crate::error::{Fault, cut, usage};

/// Lines that count in one file: each is compared with each name.
const MOST: usize = 1000;

/// What such a file says.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    rules: Vec<IgnoreRule>,
}

#[derive(Debug)]
struct IgnoreRule {
    /// Brings back what an earlier line took away.
    back: bool,
    pattern: Regex,
}

impl Ignored {
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a line that the engines refuse, too.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (back, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let Some(clean) = clean(line) else { continue };
            let bad = || usage(format!("{name}, line {}: {:?} is no pattern", number + 1, cut(line)));
            rules.push(IgnoreRule {
                back,
                pattern: Regex::new(&translated(&clean).ok_or_else(bad)?).map_err(|_| bad())?,
            });
            if rules.len() > MOST {
                return Err(usage(format!("{name} has more than {MOST} lines")));
            }
        }
        Ok(Ignored { rules })
    }

    /// Whether a path below the context is left out.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let mut out = false;
        for rule in &self.rules {
            if rule.back != out {
                continue;
            }
            // The path, or a folder that it is in.
            let ends = path.iter().enumerate().filter(|(_, c)| **c == b'/').map(|(at, _)| at);
            if ends.chain([path.len()]).any(|end| rule.pattern.is_match(&path[..end])) {
                out = !rule.back;
            }
        }
        out
    }

    /// Whether something in a folder that is left out may come back.
    pub(super) fn brings_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.back)
    }
}

/// A pattern as a path from the root; `None` for one that says nothing.
fn clean(line: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in line.split('/') {
        match part {
            "" | "." => {}
            // Above the root there is nothing.
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A pattern as a regular expression for whole paths.
fn translated(pattern: &str) -> Option<String> {
    let mut regex = String::from("(?s-u)^");
    let mut rest = pattern.chars().peekable();
    let literal = |regex: &mut String, c: char| {
        // Byte by byte: names need not be UTF-8.
        let mut buffer = [0; 4];
        c.encode_utf8(&mut buffer).bytes().for_each(|byte| regex.push_str(&format!("\\x{byte:02x}")));
    };
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.peek() == Some(&'*') => {
                rest.next();
                if rest.peek() == Some(&'/') {
                    rest.next();
                    regex.push_str("(?:.*/)?");
                } else {
                    regex.push_str(".*");
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => literal(&mut regex, rest.next()?),
            '[' => class(&mut regex, &mut rest)?,
            c => literal(&mut regex, c),
        }
    }
    regex.push('$');
    Some(regex)
}

/// `[a-z]`, `[^a]`: of single bytes, as file names mostly are.
fn class(regex: &mut String, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<()> {
    regex.push('[');
    if rest.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let member = |c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let c = if c == '\\' { rest.next()? } else { c };
        c.is_ascii().then(|| format!("\\x{:02x}", c as u32))
    };
    let mut any = false;
    loop {
        match rest.next()? {
            ']' if any => break,
            ']' | '-' => return None,
            c => regex.push_str(&member(c, rest)?),
        }
        any = true;
        if rest.next_if_eq(&'-').is_some() {
            let end = rest.next()?;
            regex.push('-');
            regex.push_str(&member(end, rest)?);
        }
    }
    regex.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_an_engine() {
        let ignored = |text: &str, path: &str| Ignored::parse(text, "x").unwrap().has(path.as_bytes());
        for (text, path, expected) in [
            ("node_modules", "node_modules/a/b", true),
            ("node_modules", "web/node_modules", false),
            ("**/node_modules", "web/node_modules/x", true),
            ("**/node_modules", "node_modules", true),
            ("/target/", "target", true),
            ("./a/../b", "b", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/x.md", false),
            ("*/*.md", "docs/x.md", true),
            ("docs/**", "docs/a/b", true),
            ("docs/**/c", "docs/c", true),
            ("docs/**/c", "docs/a/b/c", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "aab", false),
            ("a.c", "abc", false),
            ("# note\n\n  x  \n", "x", true),
            ("#x", "#x", false),
            ("*\n!keep", "keep/this", false),
            ("*\n!keep", "other", true),
            ("*\n!keep\nkeep/not", "keep/not", true),
            ("é*", "éa", true),
            ("..", "x", false),
        ] {
            assert_eq!(ignored(text, path), expected, "{text:?} {path:?}");
        }
        for bad in ["[", "[]a]", "a\\", "[a", "[b-a]", "[-a]"] {
            assert!(Ignored::parse(bad, "x").is_err(), "{bad}");
        }
    }
}
