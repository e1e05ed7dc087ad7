//! What a publisher left out because it holds a credential.

use crate::handoff::app::App;
use crate::identity::{Instead, Redacted};

/// How many files are named one by one.
const MAX_FILES: usize = 10;

/// Which files are not as the publisher had them, and why.
pub(crate) fn tell_redacted(app: &App, redacted: &[Redacted]) {
    for file in redacted.iter().take(MAX_FILES) {
        let instead = match file.instead {
            Instead::Nothing => "it is absent",
            Instead::Committed => "it is as it was committed",
            Instead::Staged => "it is as it was staged",
        };
        app.ui.warn(&format!(
            "{} was left out, because it holds a credential ({}): {instead}",
            file.path,
            file.rules.join(", ")
        ));
    }
    if redacted.len() > MAX_FILES {
        app.ui.warn(&format!("{} more files were left out; envctl show lists them", redacted.len() - MAX_FILES));
    }
}
