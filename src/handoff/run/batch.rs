//! What `run --batch` reads: commands by the line, in groups. Pure.
//!
//! A line is a command for `sh -c`. An empty line ends a group: what comes
//! after it has nothing to do with what came before, and gets a fresh runtime.
//! Lines that begin with `#` say nothing.

use std::ffi::OsString;

use crate::error::{Fault, usage};
use crate::handoff::words::quote;

/// Commands that one batch may hold.
const MOST: usize = 10_000;

/// A command of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As a person reads it.
    pub shown: String,
    /// Program and arguments.
    pub words: Vec<OsString>,
}

impl Command {
    /// A command as it was given in words.
    pub fn of_words(words: &[OsString]) -> Self {
        let shown: Vec<String> = words.iter().map(|word| quote(&word.to_string_lossy())).collect();
        Command { shown: shown.join(" "), words: words.to_vec() }
    }

    fn of_line(line: &str) -> Self {
        Command { shown: line.to_owned(), words: vec!["sh".into(), "-c".into(), line.into()] }
    }
}

/// Reads a batch: groups, none of them empty.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when it holds no command, or too many.
pub fn parse_batch(text: &str, name: &str) -> Result<Vec<Vec<Command>>, Fault> {
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.contains('\0') {
            return Err(usage(format!("{name}: a command contains a NUL byte")));
        }
        match line {
            "" => groups.push(std::mem::take(&mut group)),
            _ if line.starts_with('#') => {}
            _ => group.push(Command::of_line(line)),
        }
    }
    groups.push(group);
    groups.retain(|group| !group.is_empty());
    match groups.iter().map(Vec::len).sum::<usize>() {
        0 => Err(usage(format!("{name} holds no command"))
            .hint("write one command a line, an empty line between unrelated ones")),
        count if count > MOST => Err(usage(format!("{name} holds {count} commands, more than {MOST}"))),
        _ => Ok(groups),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<Vec<String>> {
        let groups = parse_batch(text, "batch").unwrap();
        groups.into_iter().map(|group| group.into_iter().map(|command| command.shown).collect()).collect()
    }

    #[test]
    fn empty_lines_part_what_is_unrelated() {
        let text = "# first\nnpm ci\n  npm test\r\n\n\n# only words\n\nmake lint # here\n";
        assert_eq!(shown(text), [vec!["npm ci", "npm test"], vec!["make lint # here"]]);
        assert_eq!(shown("true"), [["true"]]);
        let groups = parse_batch("echo 'a b'", "batch").unwrap();
        assert_eq!(groups[0][0].words, ["sh", "-c", "echo 'a b'"]);
    }

    #[test]
    fn a_batch_without_a_command_is_a_mistake() {
        for bad in ["", "\n\n", "# nothing\n", "a\0b", &"true\n".repeat(MOST + 1)] {
            assert!(parse_batch(bad, "batch").is_err(), "{:?}", &bad[..bad.len().min(20)]);
        }
    }

    #[test]
    fn words_are_shown_as_a_shell_reads_them() {
        let words = ["sh", "-c", "exit 3"].map(OsString::from);
        assert_eq!(Command::of_words(&words).shown, "sh -c 'exit 3'");
    }
}
