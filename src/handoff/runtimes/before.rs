//! What a project has run in a runtime before anybody's command: once in each workspace,
//! and at each start. It reads nothing, and what it prints goes to a log.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::start::{Extras, session};
use crate::config::Runtime;
use crate::digest::Digest;
use crate::disk;
use crate::handoff::app::App;
use crate::handoff::task::{Located, Pin};
use crate::handoff::words::quote;
use crate::runtime::{Outcome, Session};

/// What is run, and where that is noted.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    once: Vec<String>,
    start: Vec<String>,
}

impl Preparation {
    /// What is left to run in a workspace, by its `pin`.
    pub(crate) fn of(runtime: &Runtime, pin: Option<&Pin>) -> Self {
        let is_done = pin.is_some_and(|pin| pin.prepared == digest(&runtime.once));
        let once = if is_done { Vec::new() } else { runtime.once.clone() };
        Preparation { once, start: runtime.start.clone() }
    }

    fn is_empty(&self) -> bool {
        self.once.is_empty() && self.start.is_empty()
    }

    /// Runs it, one line after the other; after one that fails no other. That stops
    /// nobody from working there, and is said. What ended the runtime itself is returned.
    ///
    /// # Errors
    /// When the runtime gives no answer, or the log cannot be made.
    pub(crate) fn run(
        &self,
        app: &App,
        task: &Located,
        extras: &Extras,
        mut run: impl FnMut(&Session) -> Result<Outcome>,
    ) -> Result<Option<Outcome>> {
        if self.is_empty() {
            return Ok(None);
        }
        disk::create_private_dir(&app.paths.logs())?;
        let path = app.log_file(&format!("prepare-{}", task.log_name()));
        let log = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let log = Arc::new(log.with_context(|| format!("cannot make {}", path.display()))?);
        let once = self.once.iter().map(|line| (line, "once in this workspace"));
        for (line, when) in once.chain(self.start.iter().map(|line| (line, "at each start"))) {
            app.ui.status("Preparing", &format!("{line} ({when})"));
            let words = ["/bin/sh", "-c", line].map(Into::into);
            let output = Some(log.clone());
            let outcome = run(&Session { output, hides: true, ..session(app, &words, extras) })?;
            let failed = match outcome {
                Outcome::Exited(0) => continue,
                Outcome::Exited(code) => format!("ended with exit code {code}"),
                Outcome::NotStarted { program, .. } => format!("needs {program}, which cannot be started"),
                ended => return Ok(Some(ended)),
            };
            app.ui.warn(&format!("{line} {failed}, and what follows it was not run"));
            app.ui.status("", &format!("what it said: {}", path.display()));
            break;
        }
        Ok(None)
    }

    /// The same as one command before another, where nobody waits for the runtime.
    pub(crate) fn before(&self, command: &[std::ffi::OsString]) -> Vec<std::ffi::OsString> {
        if self.is_empty() || command.is_empty() {
            return command.to_vec();
        }
        let lines: Vec<String> =
            self.once.iter().chain(&self.start).map(|line| format!("/bin/sh -c {} </dev/null", quote(line))).collect();
        let script = format!("{}\nexec \"$@\"", lines.join(" &&\n"));
        let own = ["/bin/sh", "-c", &script, "sh"].map(Into::into);
        own.into_iter().chain(command.iter().cloned()).collect()
    }

    /// Notes that it is run here: whatever comes of it, it is not tried again by itself.
    ///
    /// # Errors
    /// When the pin cannot be written.
    pub(crate) fn note(&self, app: &App, task: &Located, into: Option<&Path>) -> Result<()> {
        if self.once.is_empty() {
            return Ok(());
        }
        match app.pins().read(task, into)? {
            Some(pin) => app.pins().put(&Pin { prepared: digest(&self.once), ..pin }),
            None => Ok(()),
        }
    }

    /// Says what was not run, where nothing is to be run after it.
    pub(crate) fn tell_left(&self, app: &App, task: &str) {
        for line in self.once.iter().chain(&self.start) {
            app.ui.status("Not run", &format!("{line}: envctl exec {task} -- sh -c {}", quote(line)));
        }
    }
}

/// `None` for nothing.
fn digest(lines: &[String]) -> Option<Digest> {
    (!lines.is_empty()).then(|| Digest::of(lines.join("\0").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_after_what_prepares_it() {
        let preparation = Preparation { once: vec!["echo 'a'".into()], start: vec!["b".into()] };
        let words = preparation.before(&["run".into(), "it".into()]);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!((words[0], words[3..].join(" ").as_str()), ("/bin/sh", "sh run it"));
        assert!(words[2].contains("&&") && words[2].ends_with("exec \"$@\""), "{}", words[2]);
        assert_eq!(Preparation::default().before(&["x".into()]), ["x"]);
        assert!(preparation.before(&[]).is_empty());
    }
}
