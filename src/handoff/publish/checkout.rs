//! The checkout that is published: captured, looked at for credentials, and packed.

use std::path::Path;

use anyhow::Result;

use super::options::LfsCarried;
use crate::config::Project;
use crate::credentials::Scanner;
use crate::error::of_thread;
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::caches::forget_materialized;
use crate::handoff::trust::{self, Screened};
use crate::handoff::words::{by_kind, shown_list};
use crate::snapshot::{self, Captured};
use crate::ui::counted;

/// What of a checkout the project wants to be captured.
///
/// # Errors
/// When a limit cannot be read.
pub(crate) fn chosen(app: &App, project: &Project, root: &Path) -> Result<snapshot::CaptureOptions> {
    let wanted = &project.snapshot;
    let mut exclude = wanted.exclude.clone();
    // Copies of sealed trees are nobody's work.
    exclude
        .extend(forget_materialized(&app.paths, root).into_iter().map(|path| format!("/{}/", escape_pattern(&path))));
    Ok(snapshot::CaptureOptions { include: wanted.include.clone(), exclude, max_lfs: wanted.max_lfs()?, stays: false })
}

/// Captures the checkout, looks at what would travel, and packs it.
///
/// # Errors
/// What cannot travel is refused by name.
pub(super) fn capture(
    app: &App,
    (git, repo): (&Git, &git2::Repository),
    project: &Project,
    scanner: &Scanner,
    redact: bool,
) -> Result<(Captured, Screened)> {
    let root = repo.workdir().unwrap_or(&app.cwd);
    // Mostly nothing is found, and git need not have waited.
    let look = |draft: &snapshot::Draft| {
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| draft.pack(git));
            let found = trust::scan(scanner, git, draft);
            Ok((packing.join(), found))
        })
    };
    let options = chosen(app, project, root)?;
    let capture = || snapshot::capture_and(git, repo, &options, &look);
    let (mut draft, (packed, found)) = app.ui.progress().during("the checkout", &|| None, capture)?;
    let screened = trust::settle_findings(app, found?, &mut draft, redact)?;
    let packed =
        if screened.redacted.is_empty() { of_thread(packed, "the thread that packs")?? } else { draft.pack(git)? };
    let captured = draft.seal(packed)?;
    trust::screen_document(scanner, "the list of paths and branches", &captured.bytes)?;
    app.ui.status(
        "Captured",
        &format!(
            "{} and {} on {}",
            counted(captured.changed_files as u64, "changed file", "changed files"),
            counted(captured.unpushed as u64, "unpushed commit", "unpushed commits"),
            captured.document.base.short()
        ),
    );
    tell(app, &captured);
    trust::tell_redacted(app, &screened.redacted);
    Ok((captured, screened))
}

/// What is carried beyond files and commits, and what is not.
fn tell(app: &App, captured: &Captured) {
    for kind in operations(captured) {
        app.ui.status("Captured", &format!("a {kind} in progress"));
    }
    let lfs = carried(captured);
    if lfs.files > 0 {
        let bytes = crate::ui::human_bytes(lfs.bytes);
        app.ui.status("Captured", &format!("{} LFS files that the remote may lack, {bytes}", lfs.files));
    }
    for (kind, names) in by_kind(&captured.left_out) {
        app.ui.status("Left out", &format!("{kind}: {}", shown_list(&names)));
    }
}

/// What is in progress, by its name in git.
pub(super) fn operations(captured: &Captured) -> Vec<&'static str> {
    captured.document.operation.as_ref().map_or_else(Vec::new, |operation| operation.kinds())
}

/// The contents of LFS files that travel.
pub(super) fn carried(captured: &Captured) -> LfsCarried {
    let contents = &captured.document.lfs;
    LfsCarried { files: contents.len(), bytes: contents.iter().map(|content| content.size).sum() }
}

/// A path as a gitignore pattern that matches it alone.
fn escape_pattern(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[]\\!# ".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
