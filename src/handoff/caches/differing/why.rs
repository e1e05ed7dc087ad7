//! `envctl cache why`: both keys are found by itself, and packages are named.

use anyhow::Result;
use serde::Serialize;

use super::super::inputs::pins;
use super::super::state::scopes;
use super::super::tend::all_trees;
use super::super::verbs::workspace_of;
use super::super::wanted::{Basis, wanted};
use super::{Differences, before};
use crate::digest::Digest;
use crate::handoff::app::App;
use crate::identity::TaskRef;

/// What sets the entry that a workspace wants apart from the one before it.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// The cache.
    pub name: String,
    /// The key that the workspace wants.
    pub key: Digest,
    /// Whether an entry of it is here.
    pub here: bool,
    /// The key of the entry before it; `null` where none is here.
    pub before: Option<Digest>,
    /// Lockfiles, and what of their packages differs.
    pub packages: Vec<(String, Vec<String>)>,
    /// Other inputs that differ.
    pub files: Vec<String>,
    /// What else differs: `image`, `setup` and so on.
    pub others: Vec<String>,
    /// All of it in a line.
    pub why: String,
}

/// Why each cache of a task is made anew, or was.
///
/// # Errors
/// When the task has no workspace here.
pub fn cache_reasons(app: &App, task: Option<&TaskRef>) -> Result<Vec<Reason>> {
    let (resolved, workspace) = workspace_of(app, task)?;
    let project = app.project(&workspace)?;
    let all = all_trees(app)?;
    let scopes = scopes(&resolved);
    let mut reasons = Vec::new();
    for wanted in wanted(app, &project, &Basis::of(&resolved.identity), &workspace) {
        let Some(components) = wanted.components.as_ref().filter(|_| wanted.entry.is_some()) else { continue };
        let others = all.iter().flat_map(|trees| trees.all().into_iter().map(move |record| (trees, record)));
        let before = before(others, &wanted, &resolved);
        let differs = before.as_ref().map_or_else(Differences::default, |(trees, record)| {
            let known = trees.pins(record);
            Differences::of((&record.components, known.as_ref()), (components, &pins(&workspace, &components.inputs)))
        });
        let here = all.iter().any(|trees| scopes.iter().any(|scope| trees.get(&wanted.key, scope).is_some()));
        reasons.push(Reason {
            name: wanted.name.clone(),
            key: wanted.key,
            here,
            before: before.map(|(_, record)| record.key),
            why: differs.in_a_line(),
            packages: differs.packages,
            files: differs.files,
            others: differs.others,
        });
    }
    Ok(reasons)
}
