//! A task of a store.

use crate::handoff::words::quote;
use crate::identity::{StoreRef, Target, TaskRef};

/// A task of a store.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) store: StoreRef,
    pub(crate) target: Target,
}

impl Located {
    /// As a command line names it from anywhere.
    pub(crate) fn reference(&self) -> String {
        TaskRef { store: Some(self.store.clone()), target: self.target.clone() }.to_string()
    }

    /// The same as a shell reads it back: whoever names the store may choose its path.
    pub(crate) fn quoted(&self) -> String {
        quote(&self.reference())
    }

    /// What its logs are called by: no other store's task of this name has the same.
    pub(crate) fn log_name(&self) -> String {
        format!("{}~{}", self.slug(), self.store.key())
    }

    /// A name for paths.
    pub(crate) fn slug(&self) -> String {
        self.target.slug()
    }
}
