//! Whose the files of layers and sealed trees are, by the id mapping of the
//! runtimes in which they appear.

use anyhow::Result;

use crate::archive::Owned;
use crate::cache;
use crate::handoff::app::App;
use crate::image::{Ownership, User};
use crate::runtime::Mapping;

pub(crate) struct Mapped(Mapping);

impl Ownership for Mapped {
    fn key(&self) -> String {
        self.0.key()
    }

    fn own_ids(&self) -> (u32, u32) {
        self.0.user()
    }

    fn settle(&self, root: std::os::fd::BorrowedFd<'_>, owned: &[Owned]) -> Result<Vec<u32>> {
        let owned: Vec<_> = owned.iter().map(|entry| (entry.path.as_c_str(), entry.uid, entry.gid)).collect();
        self.0.settle(root, &owned)
    }

    fn remove(&self, tree: &std::path::Path) -> Result<()> {
        self.0.remove(tree)
    }

    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()> {
        self.0.inside(work)
    }
}

impl cache::Holder for Mapped {
    fn key(&self) -> String {
        self.0.key()
    }

    fn own_ids(&self) -> (u32, u32) {
        self.0.user()
    }

    fn settle(&self, root: std::os::fd::BorrowedFd<'_>, owned: &[Owned]) -> Result<()> {
        Ownership::settle(self, root, owned).map(drop)
    }

    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()> {
        self.0.inside(work)
    }

    fn remove(&self, tree: &std::path::Path) -> Result<()> {
        self.0.remove(tree)
    }
}

/// Whose files the sealed trees of a runtime are in which commands run as
/// `user`.
pub(crate) fn holder(app: &App, user: &User) -> Mapped {
    Mapped(mapping(app, user))
}

/// The id mapping of a runtime in which commands run as `user`.
pub(crate) fn mapping(app: &App, user: &User) -> Mapping {
    Mapping::new(user.uid, user.gid, app.env.path.as_deref())
}
