//! A page of the guide on a terminal: in rows that fit, tables row by row. Elsewhere a page
//! is printed as it is, for whoever reads Markdown.

use std::fmt::Write as _;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use textwrap::WordSplitter;

/// Longer rows are hard to read, in columns.
const WIDEST: usize = 88;

/// What stands before code and the further cells of a table's row.
const INDENT: &str = "    ";

/// A page in rows of at most `columns`; code keeps its own.
pub(super) fn fitted(page: &str, columns: usize) -> String {
    let mut fitted = Fitted { columns: columns.clamp(20, WIDEST), ..Fitted::default() };
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        fitted.take(event);
    }
    fitted.out.trim_end().to_owned()
}

#[derive(Default)]
struct Fitted {
    columns: usize,
    out: String,
    /// The words of the block that has begun.
    words: String,
    /// The lists around it: the number of the next item, where they are numbered.
    lists: Vec<Option<u64>>,
    /// What stands before the next row of an item.
    bullet: String,
    headings: Vec<String>,
    cells: Vec<String>,
    link: String,
    in_code: bool,
}

impl Fitted {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                for line in text.lines() {
                    let _ = writeln!(self.out, "{}", format!("{INDENT}{line}").trim_end());
                }
            }
            Event::Text(text) => self.words.push_str(&text),
            Event::Code(code) => {
                let _ = write!(self.words, "`{code}`");
            }
            Event::SoftBreak | Event::HardBreak => self.words.push(' '),
            _ => {}
        }
    }

    fn begin(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::CodeBlock(_) => self.in_code = true,
            Tag::Link { dest_url, .. } => self.link = dest_url.into_string(),
            Tag::List(first) => {
                self.say();
                self.lists.push(first);
            }
            Tag::Item => {
                let depth = self.lists.len().saturating_sub(1) * 2;
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                };
                self.bullet = " ".repeat(depth) + &mark;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let line = if level as usize == 1 { "=" } else { "-" };
                let under = line.repeat(textwrap::core::display_width(&self.words).min(self.columns));
                self.say();
                let _ = writeln!(self.out, "{under}\n");
            }
            TagEnd::Paragraph => {
                self.say();
                self.out.push('\n');
            }
            TagEnd::Item => self.say(),
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() && !self.out.ends_with("\n\n") {
                    self.out.push('\n');
                }
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.out.push('\n');
            }
            TagEnd::Link if self.link.starts_with("http") && !self.words.ends_with(&self.link) => {
                let _ = write!(self.words, " ({})", self.link);
            }
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.words)),
            TagEnd::TableHead => self.headings = std::mem::take(&mut self.cells),
            TagEnd::TableRow => self.row(),
            TagEnd::Table => self.out.push('\n'),
            _ => {}
        }
    }

    /// The row of a table: its first cell, and the others below it.
    fn row(&mut self) {
        let named = self.headings.len() > 2;
        for (at, cell) in std::mem::take(&mut self.cells).into_iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let heading = self.headings.get(at).filter(|heading| named && at > 0 && !heading.is_empty());
            let before = if at == 0 { "" } else { INDENT };
            let text = heading.map_or(cell.clone(), |heading| format!("{heading}: {cell}"));
            self.fill(&text, before, INDENT);
        }
    }

    /// Writes the block's words.
    fn say(&mut self) {
        let words = std::mem::take(&mut self.words);
        if words.is_empty() {
            return;
        }
        let bullet = std::mem::take(&mut self.bullet);
        let depth = if bullet.is_empty() { self.lists.len() * 2 } else { bullet.len() };
        let first = if bullet.is_empty() { " ".repeat(depth) } else { bullet };
        self.fill(&words, &first, &" ".repeat(depth));
    }

    fn fill(&mut self, text: &str, first: &str, rest: &str) {
        let options = textwrap::Options::new(self.columns)
            .initial_indent(first)
            .subsequent_indent(rest)
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation);
        let _ = writeln!(self.out, "{}", textwrap::fill(text, options));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fits_and_loses_no_word() {
        let page = "# Title\n\nA paragraph that\ngoes on with `code` and a [link](x.md).\n\n    code stays as it is\n\n\
                    - one item that is longer than a row of forty columns\n- two\n\n1. first\n2. second\n\n\
                    | key | type | meaning |\n|---|---|---|\n| `a.b` | string | what it is about, in many words |\n";
        let said = fitted(page, 40);
        let expected = "Title\n=====\n\nA paragraph that goes on with `code` and\na link.\n\n    code stays as it is\n\n\
                        - one item that is longer than a row of\n  forty columns\n- two\n\n1. first\n2. second\n\n\
                        `a.b`\n    type: string\n    meaning: what it is about, in many\n    words";
        assert_eq!(said, expected);
    }
}
