//! What a fresh workspace has to tell beyond that it is there.

use std::path::Path;

use crate::handoff::app::App;
use crate::handoff::report::Arrived;
use crate::handoff::words::{by_kind, quote, shown_list};
use crate::snapshot::{Applied, Document};

impl Arrived {
    pub(crate) fn new(applied: &Applied, document: &Document, lfs_reason: Option<String>) -> Self {
        let operations = document.operation.as_ref().map_or_else(Vec::new, |operation| operation.kinds());
        let lossy = |paths: &[Vec<u8>]| paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Arrived {
            operations: operations.iter().map(|kind| (*kind).to_owned()).collect(),
            submodules: lossy(&applied.submodules),
            submodules_without_address: lossy(&applied.unknown),
            lfs_files: applied.placed,
            lfs_pointers: lossy(&applied.pointers),
            lfs_reason: lfs_reason.filter(|_| !applied.pointers.is_empty()),
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
        if !self.submodules.is_empty() {
            let names = shown_list(&self.submodules);
            app.ui.status("Submodules", &format!("{names}: empty until {git} submodule update --init"));
        }
        if !self.submodules_without_address.is_empty() {
            let names = shown_list(&self.submodules_without_address);
            app.ui.status("Submodules", &format!("{names}: empty, and .gitmodules names no address"));
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
