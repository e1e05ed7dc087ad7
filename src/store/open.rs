//! Opening a store, of whichever kind it is.

use std::path::PathBuf;

use anyhow::Result;

use super::{Access, Layout, Network, Registry, Store};
use crate::identity::StoreRef;

/// Opens a store.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when it does not exist.
pub fn open(store: &StoreRef, access: Access, network: &Network) -> Result<Box<dyn Store>> {
    match store {
        StoreRef::Layout(path) => Ok(Box::new(open_layout(path.clone(), access)?)),
        StoreRef::Registry(name) => Ok(Box::new(Registry::new(name, access, network)?)),
    }
}

fn open_layout(path: PathBuf, access: Access) -> Result<Layout> {
    match access {
        Access::Read | Access::Change => Layout::open(path),
        Access::Write => Layout::create(path),
    }
}
