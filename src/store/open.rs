//! Opening a store, of whichever kind it is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::layout::PROBE;
use super::unmade::UnmadeLayout;
use super::{Access, Layout, Registry, RegistryNetwork, Store};
use crate::disk::scratch::Scratch;
use crate::error::{Fault, failure};
use crate::identity::StoreRef;

/// Opens a store.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when it does not exist.
pub fn open(store: &StoreRef, access: Access, network: &RegistryNetwork) -> Result<Box<dyn Store>> {
    match store {
        StoreRef::Layout(path) if access == Access::Write && !path.join("oci-layout").exists() => {
            let store = UnmadeLayout::new(path.clone())?;
            // What is there already of the way to it.
            let above = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
            require_writable(path, above)?;
            let probe = Scratch::create_in(above, PROBE);
            probe.with_context(|| format!("cannot create the store {}", path.display()))?;
            Ok(Box::new(store))
        }
        StoreRef::Layout(path) => Ok(Box::new(open_layout(path.clone(), access)?)),
        StoreRef::Registry(name) => Ok(Box::new(Registry::new(name, access, network)?)),
    }
}

fn open_layout(path: PathBuf, access: Access) -> Result<Layout> {
    let layout = Layout::open(path.clone())?;
    if access != Access::Read {
        require_writable(&path, &path)?;
    }
    Ok(layout)
}

/// Before anything is made for a store that takes nothing.
fn require_writable(path: &Path, folder: &Path) -> Result<(), Fault> {
    let why = match rustix::fs::accessat(CWD, folder, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS) {
        Err(Errno::ROFS) => "its file system is read-only",
        Err(Errno::ACCESS) => "the folder belongs to another account, or its mode forbids it",
        _ => return Ok(()),
    };
    Err(failure(format!("the store oci:{} cannot be written: {why}", path.display()))
        .hint("make it writable, or name another one: --store STORE"))
}
