//! Questions, on the terminal. A question is asked when all of it is seen, and
//! not otherwise: what is asked for stands above it, one thing after the other,
//! each row of it behind a margin that nothing within can leave.

use std::io::{self, ErrorKind};

use anyhow::{Context, Result};
use rustix::termios::{QueueSelector, tcflush};

use super::escape::shown;
use super::progress::around;
use super::width::{USUAL, fit, screen, wide, width};
use super::{Ui, escape};
use crate::error::policy;

/// Characters of an answer, or of the question before a choice.
const LONG: usize = 200;

/// Columns before an answer that can be chosen, and behind it.
const MARK: usize = 3;

/// A narrower terminal has no room beside the margin.
const NARROWEST: usize = 40;

/// The margin of what is asked for, and of its further rows.
const MARGIN: &str = "             ";
const FURTHER: &str = "           | ";

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was answered with yes.
    Yes,
    /// It was answered with no, or not at all.
    No,
    /// It was not asked: the terminal cannot show all of it at once.
    TooLong,
}

/// A question ends as it is written, with a question mark and no colon behind it.
struct AsAsked;

impl dialoguer::theme::Theme for AsAsked {
    fn format_select_prompt(&self, out: &mut dyn std::fmt::Write, prompt: &str) -> std::fmt::Result {
        out.write_str(prompt)
    }

    fn format_select_prompt_selection(
        &self,
        out: &mut dyn std::fmt::Write,
        prompt: &str,
        chosen: &str,
    ) -> std::fmt::Result {
        write!(out, "{prompt} {chosen}")
    }
}

impl Ui {
    /// Lets one of several answers be chosen, the first by default; `None` when
    /// none is.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn choose(&self, question: &str, answers: &[&str]) -> Result<Option<usize>> {
        // What takes more than a row is drawn again and again.
        let columns = screen(io::stderr()).unwrap_or(USUAL).1;
        let answers: Vec<String> =
            answers.iter().map(|answer| fit(&shown(answer, LONG), columns.saturating_sub(MARK))).collect();
        let question = shown(question, LONG);
        let asked = around(|| {
            let fits = width(&question) < columns;
            if !fits {
                self.stderr(&question);
            }
            forget_typed();
            let prompt = if fits { &question } else { "Choose:" };
            dialoguer::Select::with_theme(&AsAsked).with_prompt(prompt).items(&answers).default(0).interact_opt()
        });
        match asked {
            // Ctrl-C is an answer: none of them.
            Err(dialoguer::Error::IO(error)) if error.kind() == ErrorKind::Interrupted => Ok(None),
            asked => asked.context("cannot ask on this terminal"),
        }
    }

    /// Asks for a line, which may be empty.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn line(&self, question: &str) -> Result<String> {
        let question = shown(question, LONG);
        forget_typed();
        let input = dialoguer::Input::<String>::new().with_prompt(question).allow_empty(true);
        let asked = around(|| input.interact_text());
        asked.context("cannot ask on this terminal")
    }

    /// Asks a yes-or-no question; `false` when it is not answered with yes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when it is too long to be shown at once;
    /// also when the terminal goes away.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        match self.agree(None, &[], question)? {
            Answer::TooLong => Err(policy(format!("this question is too long to be asked: {question}")).into()),
            answer => Ok(answer == Answer::Yes),
        }
    }

    /// Shows what is asked for, after who asks for it, and asks a yes-or-no
    /// question about all of it; nothing is shown when it does not fit.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn agree(&self, who: Option<&str>, items: &[String], question: &str) -> Result<Answer> {
        let (rows, columns) = screen(io::stderr()).unwrap_or(USUAL);
        let Some(text) = laid_out(who, items, question, rows, columns) else { return Ok(Answer::TooLong) };
        around(|| self.ask(&text, question))
    }

    fn ask(&self, text: &[String], question: &str) -> Result<Answer> {
        let verb = format!("{:>10} ", "Approval");
        for line in text {
            // The verb stands at the head of the first row.
            match line.strip_prefix(&verb) {
                Some(rest) => self.stderr(&format!("{}{rest}", self.paint(&verb, "1;32"))),
                None => self.stderr(line),
            }
        }
        forget_typed();
        let asked = dialoguer::Confirm::new().with_prompt(escape(question)).default(false).interact_opt();
        let yes = asked.context("cannot ask on this terminal")? == Some(true);
        Ok(if yes { Answer::Yes } else { Answer::No })
    }
}

/// What was typed before a question was seen is no answer to it.
fn forget_typed() {
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// The rows above a question; `None` when they and the question do not fit on
/// the screen.
fn laid_out(who: Option<&str>, items: &[String], question: &str, rows: usize, columns: usize) -> Option<Vec<String>> {
    // Answered at the end of its own row, with a row to spare.
    let needed = width(&escape(question)) + " [y/N] yes".len();
    let room = rows.checked_sub(needed.div_ceil(columns.max(1)) + 1)?;
    if columns < NARROWEST && !(who.is_none() && items.is_empty()) {
        return None;
    }
    let verb = format!("{:>10} ", "Approval");
    let mut text = Vec::new();
    let who = who.map(|who| (verb.as_str(), who)).into_iter();
    for (margin, item) in who.chain(items.iter().map(|item| (MARGIN, item.as_str()))) {
        // What is longer than the screen needs no look at its end.
        if item.len() > rows * columns * 4 {
            return None;
        }
        text.extend(wrapped(&escape(item), margin, columns));
        if text.len() > room {
            return None;
        }
    }
    Some(text)
}

/// A word that is longer than this is broken where its row ends.
const WORD: usize = 24;

/// A text in rows that end before the terminal would begin another one, between words
/// where that can be.
fn wrapped(text: &str, margin: &str, columns: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut row = margin.to_owned();
    // Columns of the row, and of the word at its end, with where that begins.
    let (mut used, mut word) = (margin.len(), (row.len(), 0));
    for c in text.chars() {
        let wide = wide(c);
        if used + wide >= columns {
            let (at, length) =
                if word.1 > 0 && word.1 <= WORD && word.0 > margin.len() { word } else { (row.len(), 0) };
            let rest = row.split_off(at);
            all.push(std::mem::replace(&mut row, FURTHER.to_owned() + &rest));
            used = FURTHER.len() + length;
            word = (FURTHER.len(), length);
        }
        row.push(c);
        used += wide;
        word = if c == ' ' { (row.len(), 0) } else { (word.0, word.1 + wide) };
    }
    all.push(row);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visible::is_visible;
    use proptest::prelude::*;

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn what_does_not_fit_is_not_laid_out() {
        let fits = |items: &[String]| laid_out(Some("the project x asks for:"), items, "Allow this?", 24, 80).is_some();
        assert!(fits(&texts(&["the secret A", "the secret B"])));
        assert!(fits(&vec!["the secret A".to_owned(); 21]));
        assert!(!fits(&vec!["the secret A".to_owned(); 22]));
        assert!(!fits(&[" ".repeat(5000)]));
        assert!(!fits(&["\n".repeat(2000)]));
        assert!(!fits(&["x".repeat(10_000_000)]));
        assert!(laid_out(Some("x"), &texts(&["y"]), "Allow this?", 24, 20).is_none());
        assert!(laid_out(None, &[], &"x".repeat(5000), 24, 80).is_none());
    }

    #[test]
    fn a_line_break_or_a_full_row_begins_no_line() {
        let spaces = " ".repeat(80 - MARGIN.len() - 6);
        let items = [format!("FIRST{spaces}no longer: x"), "FIRST\nno longer: y".to_owned()];
        let text = laid_out(Some("w"), &items, "?", 24, 80).unwrap();
        assert!(text[2].starts_with(FURTHER) && text[2].contains("longer: x"), "{text:#?}");
        assert_eq!(text[3], format!("{MARGIN}FIRST\\nno longer: y"));
    }

    #[test]
    fn rows_end_between_words() {
        let text = "the project https://git.example/shop.git (tasks of oci:/srv/tasks) asks for: everything";
        let rows = wrapped(text, MARGIN, 80);
        let (first, rest) = text.split_at(text.find("oci:").unwrap());
        assert_eq!(rows, [format!("{MARGIN}{first}"), format!("{FURTHER}{rest}")]);
        // Unless the word is a long one.
        assert_eq!(wrapped(&format!("a {}", "b".repeat(100)), MARGIN, 60).len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_question_stays_within_its_lines(
            who in any::<String>(),
            items in proptest::collection::vec("(?s)(.{0,40}|[ \n\t\u{3000}x日\u{301}\u{202e}]{0,200})", 0..12),
            rows in 0..60_usize,
            columns in 0..200_usize,
        ) {
            let Some(text) = laid_out(Some(&who), &items, "Allow this?", rows, columns) else { return Ok(()) };
            prop_assert!(text.len() < rows);
            for row in &text {
                prop_assert!(row.chars().all(is_visible), "{:?}", row);
                prop_assert!(width(row) < columns);
            }
            // Nothing is left out, and nothing but an item begins a line.
            let mut left = text.iter().skip(1).skip_while(|row| row.starts_with(FURTHER)).peekable();
            for item in &items {
                let mut whole = left.next().and_then(|row| row.strip_prefix(MARGIN)).unwrap_or("?").to_owned();
                while let Some(more) = left.peek().and_then(|row| row.strip_prefix(FURTHER)) {
                    whole += more;
                    left.next();
                }
                prop_assert_eq!(whole, escape(item));
            }
            prop_assert_eq!(left.next(), None);
        }
    }
}
