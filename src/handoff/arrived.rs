//! What a fresh workspace has to tell beyond that it is there.

use std::path::Path;

use serde::Serialize;

use super::context::Context;
use super::shown_list;
use crate::snapshot::{Applied, Document, LeftOut};

/// What was restored, and what the developer may want to do about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Arrived {
    /// What is in progress: `merge`, `rebase` and the like.
    pub operations: Vec<String>,
    /// Submodules, empty until they are initialised.
    pub submodules: Vec<String>,
    /// Those for which the project names no address.
    pub submodules_without_address: Vec<String>,
    /// How many LFS files have their content.
    pub lfs_files: usize,
    /// LFS files that are pointers.
    pub lfs_pointers: Vec<String>,
    /// Why their content could not be had.
    pub lfs_reason: Option<String>,
    /// What stayed behind where it was published.
    pub left_behind: Vec<LeftOut>,
}

impl Arrived {
    pub(super) fn new(applied: &Applied, document: &Document, lfs_reason: Option<String>) -> Self {
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
    pub(super) fn tell(&self, ctx: &Context, place: &Path) {
        let git = format!("git -C {}", super::publish::quote(&place.display().to_string()));
        for kind in &self.operations {
            let next = if kind == "bisect" { "bisect log" } else { "status" };
            ctx.ui.status("Unfinished", &format!("a {kind} is in progress here too: {git} {next}"));
        }
        for (kind, names) in by_kind(&self.left_behind) {
            ctx.ui.status("Left behind", &format!("where it was published: {kind}: {}", shown_list(&names)));
        }
        if !self.submodules.is_empty() {
            let names = shown_list(&self.submodules);
            ctx.ui.status("Submodules", &format!("{names}: empty until {git} submodule update --init"));
        }
        if !self.submodules_without_address.is_empty() {
            let names = shown_list(&self.submodules_without_address);
            ctx.ui.status("Submodules", &format!("{names}: empty, and .gitmodules names no address"));
        }
        if !self.lfs_pointers.is_empty() {
            let (count, names) = (self.lfs_pointers.len(), shown_list(&self.lfs_pointers));
            ctx.ui.status("LFS", &format!("{count} files are pointers here: {names}: {git} lfs pull"));
            if let Some(reason) = &self.lfs_reason {
                ctx.ui.detail(&format!("their content could not be had: {reason}"));
            }
        }
    }
}

/// What was left out by kind, in the kinds' words.
pub(super) fn by_kind(left: &[LeftOut]) -> Vec<(&'static str, Vec<String>)> {
    let mut kinds: Vec<_> = left.iter().map(|left| left.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let names = |kind| left.iter().filter(|left| left.kind == kind).map(|left| left.name.clone()).collect();
    kinds.into_iter().map(|kind| (kind.words(), names(kind))).collect()
}
