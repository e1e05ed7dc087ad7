//! An allowed way to a remote, and who allows it.

use std::path::PathBuf;

use anyhow::Result;

use super::order::Order;
use super::own::Own;
use crate::git::Git;
use crate::identity::{RepoUrl, Scheme, Site};
use crate::web::Proxies;

/// Where git would go.
#[derive(Clone, Debug)]
pub struct Way {
    /// The address that was asked for.
    pub asked: RepoUrl,
    /// Where git goes for it, after the developer's own `insteadOf`.
    pub real: RepoUrl,
    /// The site of `real` is named by that rule, and so by the developer.
    pub settled: bool,
    /// The remote itself sent us there.
    pub redirected: bool,
    /// Nothing goes on without it; else it is not worth a question.
    pub needed: bool,
}

/// Who says where git may go.
pub trait Judge {
    /// Whether git may go there, and be given the developer's credentials.
    ///
    /// # Errors
    /// When it may not.
    fn allow(&self, way: &Way) -> Result<()>;

    /// Whether a site beside the way is one that the developer approved.
    fn knows(&self, site: &Site) -> bool;
}

/// An allowed way to a remote.
#[derive(Debug)]
pub struct Contact<'a> {
    pub(super) git: &'a Git,
    pub(super) order: Order,
    /// What git is told, and makes [`Way::real`] of.
    pub(super) target: String,
    pub(super) scheme: Scheme,
    pub(super) ssh_variant: String,
    /// The developer's way to remotes; nobody's where they stand in a folder.
    pub(super) own: Option<Own>,
    /// Any repository of ours.
    pub(super) ground: PathBuf,
}

/// Settings of git's for connections that are not git's.
#[derive(Debug, Default)]
pub(super) struct WebSettings {
    pub(super) proxies: Proxies,
    pub(super) ca: Option<PathBuf>,
    pub(super) headers: Vec<(String, String)>,
}

/// What came of it.
#[derive(Debug)]
pub struct ContactOutcome {
    /// Whether git did it.
    pub ok: bool,
    /// What it printed, up to a bound.
    pub stdout: Vec<u8>,
    /// Why it did not, on one line.
    pub complaint: String,
    /// It was ended, because nothing came, or too much.
    pub given_up: bool,
    /// Where the remote sent it on to.
    pub(super) onward: Option<RepoUrl>,
}

impl ContactOutcome {
    /// Of a contact that asked for nothing.
    pub fn nothing() -> Self {
        ContactOutcome { ok: true, stdout: Vec::new(), complaint: String::new(), given_up: false, onward: None }
    }
}
