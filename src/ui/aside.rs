//! One JSON object on stdout, although a command prints there.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio;

use super::Ui;

/// As long as this lives, what is printed to stdout goes to stderr.
#[derive(Debug)]
pub struct Aside {
    stdout: OwnedFd,
}

impl Ui {
    /// Where one JSON object is to be printed on stdout: lets everything that commands
    /// print meanwhile go to stderr.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn aside(&self) -> Result<Option<Aside>> {
        let begin = || -> rustix::io::Result<Aside> {
            let aside = Aside { stdout: fcntl_dupfd_cloexec(stdio::stdout(), 3)? };
            stdio::dup2_stdout(stdio::stderr())?;
            Ok(aside)
        };
        self.json.then(begin).transpose().context("cannot keep stdout for JSON")
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = stdio::dup2_stdout(&self.stdout);
    }
}
