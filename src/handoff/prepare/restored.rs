//! What a fresh workspace has to tell beyond that it is there.

use std::path::Path;

use crate::handoff::app::App;
use crate::handoff::report::Arrived;
use crate::handoff::words::{by_kind, quote, shown_list};
use crate::snapshot::{Applied, Document};
use crate::ui::counted;

/// Where projects keep their hooks, or say which they have.
const HOOKS: [&str; 7] = [
    ".husky",
    ".githooks",
    ".pre-commit-config.yaml",
    "lefthook.yml",
    ".lefthook.yml",
    "lefthook.yaml",
    ".overcommit.yml",
];

/// Which hooks a workspace has that no commit runs: git knows of them where somebody has
/// set them up, and a workspace is set up by nobody.
fn hooks(workspace: &Path) -> Vec<String> {
    let is_there = |name: &&str| workspace.join(name).symlink_metadata().is_ok();
    HOOKS.into_iter().filter(is_there).map(str::to_owned).collect()
}

/// Whether the developer's git has the filter of Git LFS, `git lfs install`.
fn has_lfs() -> bool {
    let config = git2::Config::open_default().and_then(|mut config| config.snapshot());
    config.is_ok_and(|config| {
        ["clean", "process"].iter().any(|part| config.get_str(&format!("filter.lfs.{part}")).is_ok())
    })
}

impl Arrived {
    pub(crate) fn new(workspace: &Path, applied: &Applied, document: &Document, lfs_reason: Option<String>) -> Self {
        let operations = document.operation.as_ref().map_or_else(Vec::new, |operation| operation.kinds());
        let lossy = |paths: &[Vec<u8>]| paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Arrived {
            operations: operations.iter().map(|kind| (*kind).to_owned()).collect(),
            submodules: lossy(&applied.submodules),
            submodules_without_address: lossy(&applied.unknown),
            lfs_files: applied.placed,
            lfs_pointers: lossy(&applied.pointers),
            lfs_reason: lfs_reason.filter(|_| !applied.pointers.is_empty()),
            hooks: hooks(workspace),
            left_behind: document.left_out.clone(),
        }
    }

    /// A line for each thing that a developer should know.
    pub(crate) fn tell(&self, app: &App, place: &Path) {
        let git = format!("git -C {}", quote(&place.display().to_string()));
        for kind in &self.operations {
            let next = if kind == "bisect" { "bisect log" } else { "status" };
            app.ui.status("Unfinished", &format!("a {kind} is in progress, as where it was published: {git} {next}"));
        }
        for (kind, names) in by_kind(&self.left_behind) {
            app.ui.status("Left behind", &format!("where it was published: {kind}: {}", shown_list(&names)));
        }
        if !self.hooks.is_empty() {
            let names = self.hooks.join(", ");
            let how = "set them up as in a clone of your own, and they run on your machine";
            app.ui.status("Hooks", &format!("commits here run none of the project's ({names}); to have them, {how}"));
        }
        if !self.submodules.is_empty() {
            let names = shown_list(&self.submodules);
            app.ui.status("Submodules", &format!("{names}: empty until {git} submodule update --init"));
        }
        if !self.submodules_without_address.is_empty() {
            let names = shown_list(&self.submodules_without_address);
            app.ui.status("Submodules", &format!("{names}: empty, and .gitmodules names no address"));
        }
        if self.lfs_files > 0 && !has_lfs() {
            let files = counted(self.lfs_files as u64, "file is", "files are");
            let why = "and your git has no Git LFS: commits of yours would hold them whole";
            app.ui.status("LFS", &format!("{files} managed by Git LFS, {why}; git lfs install helps"));
        }
        if !self.lfs_pointers.is_empty() {
            let (count, names) = (self.lfs_pointers.len(), shown_list(&self.lfs_pointers));
            app.ui.status("LFS", &format!("{count} files are pointers here: {names}: {git} lfs pull"));
            if place.join(".lfsconfig").symlink_metadata().is_ok() {
                let how = "the project names a server of its own, which is not asked before you say so";
                app.ui.status("", &format!("{how}: {git} config lfs.url URL"));
            }
            if let Some(reason) = &self.lfs_reason {
                app.ui.detail(&format!("their content could not be had: {reason}"));
            }
        }
    }
}
