//! Questions, on the terminal.

use std::io::ErrorKind;

use anyhow::{Context, Result};

use super::{Ui, escape};

impl Ui {
    /// Lets one of several answers be chosen, the first by default; `None` when
    /// none is.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn choose(&self, question: &str, answers: &[&str]) -> Result<Option<usize>> {
        let answers: Vec<String> = answers.iter().map(|answer| escape(answer)).collect();
        let asked = dialoguer::Select::new().with_prompt(escape(question)).items(&answers).default(0).interact_opt();
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
        let asked = dialoguer::Input::<String>::new().with_prompt(escape(question)).allow_empty(true).interact_text();
        asked.context("cannot ask on this terminal")
    }

    /// Asks a yes-or-no question; `false` when it is not answered with yes.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        let asked = dialoguer::Confirm::new().with_prompt(escape(question)).default(false).interact_opt();
        Ok(asked.context("cannot ask on this terminal")? == Some(true))
    }
}
