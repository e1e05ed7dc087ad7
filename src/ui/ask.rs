//! Questions, on the terminal.

use anyhow::{Context, Result};

use super::{Ui, escape};

impl Ui {
    /// Asks a yes-or-no question; `false` when it is not answered with yes.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        let asked = dialoguer::Confirm::new().with_prompt(escape(question)).default(false).interact_opt();
        Ok(asked.context("cannot ask on this terminal")? == Some(true))
    }
}
