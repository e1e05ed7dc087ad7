//! The three looks as one.

use std::collections::{BTreeSet, HashSet};

use super::dedupe::dedupe;
use super::files;
use super::finding::{Finding, Fingerprint};
use super::ruleset::Ruleset;
use super::text::{Gap, MAX_TEXT, Text};
use super::values::Values;
use crate::error::Fault;
use crate::secret::Secret;

/// The rule of a value that is known to be secret.
const VALUE: &str = "injected-secret";
/// The rule of a file that held such a value at the end of a run.
const LEFT: &str = "left-by-a-run";
/// A comment with one of these takes a line for harmless.
const MARKS: [&[u8]; 2] = [b"envctl:allow", b"gitleaks:allow"];
/// More findings in one content say nothing new.
const ENOUGH: usize = 100;

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// In the order of their lines.
    pub findings: Vec<Finding>,
    /// What could not be searched.
    pub gap: Option<Gap>,
}

/// Looks for credentials.
pub struct Scanner {
    values: Values,
    allowed: HashSet<Fingerprint>,
    /// Files that hold a value which may be known no more.
    exposed: HashSet<String>,
}

impl Scanner {
    /// A scanner for these values and for everything that the rules know, with
    /// what somebody has looked at and allowed.
    ///
    /// # Errors
    /// When the values cannot be looked for.
    pub fn new(secrets: &[Secret], allowed: impl IntoIterator<Item = Fingerprint>) -> Result<Self, Fault> {
        let (values, allowed) = (Values::new(secrets)?, allowed.into_iter().collect());
        Ok(Scanner { values, allowed, exposed: HashSet::new() })
    }

    /// The same for somebody who knows of files that hold a value, whatever it is.
    pub fn with_exposed(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.exposed.extend(files);
        self
    }

    /// Looks at a file: its name, and its content.
    ///
    /// # Errors
    /// When the rules cannot be read, which a test rules out.
    pub fn file(&self, path: &str, content: &[u8]) -> Result<Looked, Fault> {
        let text = Text::of(content);
        let mut look = Look { scanner: self, path, findings: Vec::new() };
        if let Some((rule, at)) = files::look(path, &text)? {
            look.add_file(rule, text.line(at));
        }
        if let Some(rule) = Ruleset::get()?.name(path)? {
            look.add_file(rule, None);
        }
        look.values(content, &text);
        if self.exposed.contains(path) && look.findings.iter().all(|finding| finding.rule != VALUE) {
            look.add_file(LEFT, None);
        }
        look.rules(&text)?;
        let mut findings = look.findings;
        findings.sort_by_key(|finding| finding.line);
        Ok(Looked { findings, gap: text.gap })
    }

    /// Looks at a file that is handed over in parts, of any size.
    pub fn looking<'a>(&'a self, path: &'a str) -> Looking<'a> {
        Looking { scanner: self, path, head: Vec::new(), window: Vec::new(), found: BTreeSet::new() }
    }

    /// Looks at a text that is no file; `name` is what a fingerprint is about.
    ///
    /// # Errors
    /// The same.
    pub fn text(&self, name: &str, content: &[u8]) -> Result<Vec<Finding>, Fault> {
        let text = Text::of(content);
        let mut look = Look { scanner: self, path: name, findings: Vec::new() };
        look.values(content, &text);
        look.rules(&text)?;
        Ok(look.findings)
    }

    /// Looks for the known values alone: in what is no prose and no code, such
    /// as lists of names and hashes.
    pub fn values(&self, name: &str, content: &[u8]) -> Vec<Finding> {
        let mut look = Look { scanner: self, path: name, findings: Vec::new() };
        look.values(content, &Text::of(content));
        look.findings
    }
}

/// So many bytes beyond what the rules see are searched for values at once.
const WINDOW: usize = 4 << 20;
/// And so many once more with the next ones: a value may lie across them, broken
/// into lines.
const OVERLAP: usize = 256 << 10;

/// A look at a file that comes in parts.
pub struct Looking<'a> {
    scanner: &'a Scanner,
    path: &'a str,
    /// What the rules see, and one byte more where there is more.
    head: Vec<u8>,
    window: Vec<u8>,
    /// Values that were found behind the head.
    found: BTreeSet<Vec<u8>>,
}

impl Looking<'_> {
    /// The next part.
    pub fn see(&mut self, part: &[u8]) {
        let room = MAX_TEXT + 1 - self.head.len();
        let (first, rest) = part.split_at(room.min(part.len()));
        self.head.extend_from_slice(first);
        if rest.is_empty() || self.scanner.values.is_empty() {
            return;
        }
        if self.window.is_empty() {
            self.window.extend_from_slice(&self.head[self.head.len() - OVERLAP..]);
        }
        for piece in rest.chunks(WINDOW) {
            self.window.extend_from_slice(piece);
            if self.window.len() >= WINDOW + OVERLAP {
                self.search();
                self.window.drain(..self.window.len() - OVERLAP);
            }
        }
    }

    fn search(&mut self) {
        let found = self.scanner.values.search(&self.window);
        self.found.extend(found.into_iter().map(|(_, value)| value.to_vec()));
    }

    /// What was found in all of it.
    ///
    /// # Errors
    /// As [`Scanner::file`].
    pub fn finish(mut self) -> Result<Looked, Fault> {
        if self.window.len() > OVERLAP {
            self.search();
        }
        let mut looked = self.scanner.file(self.path, &self.head)?;
        let mut look = Look { scanner: self.scanner, path: self.path, findings: Vec::new() };
        self.found.iter().for_each(|value| look.add(VALUE, None, value));
        look.findings.retain(|new| looked.findings.iter().all(|known| known.fingerprint != new.fingerprint));
        looked.findings.extend(look.findings);
        Ok(looked)
    }
}

/// One look.
struct Look<'a> {
    scanner: &'a Scanner,
    path: &'a str,
    findings: Vec<Finding>,
}

impl Look<'_> {
    fn add(&mut self, rule: &str, line: Option<usize>, secret: &[u8]) {
        let fingerprint = Fingerprint::new(rule, self.path, secret);
        self.keep(Finding { rule: rule.to_owned(), line, by_name: false, fingerprint });
    }

    /// The file as such, whatever else is in it: its fingerprint outlives
    /// changes to it.
    fn add_file(&mut self, rule: &str, line: Option<usize>) {
        let fingerprint = Fingerprint::new(rule, self.path, b"");
        self.keep(Finding { rule: rule.to_owned(), line, by_name: true, fingerprint });
    }

    fn keep(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) && !self.scanner.allowed.contains(&finding.fingerprint) {
            self.findings.push(finding);
        }
    }

    /// No comment allows a value that is known to be secret.
    fn values(&mut self, content: &[u8], text: &Text<'_>) {
        let found = self.scanner.values.search(content);
        let found = if found.is_empty() { self.scanner.values.search(&text.bytes) } else { found };
        let has_lines = text.line(0).is_some();
        for (line, value) in found {
            self.add(VALUE, has_lines.then_some(line), value);
        }
    }

    fn rules(&mut self, text: &Text<'_>) -> Result<(), Fault> {
        for found in dedupe(Ruleset::get()?.search(self.path, text)?) {
            if self.findings.len() >= ENOUGH {
                break;
            }
            let lines = text.lines(&found.at.whole);
            let marked = MARKS.iter().any(|mark| lines.windows(mark.len()).any(|window| window == *mark));
            if !marked {
                self.add(found.rule, text.line(found.at.secret.start), &text.bytes[found.at.secret.clone()]);
            }
        }
        Ok(())
    }
}
