//! Paths as git has them: bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As the system takes it.
pub(super) fn path_of(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Paths as git reads them from its standard input.
pub(super) fn joined(paths: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut input = Vec::new();
    for path in paths {
        input.extend_from_slice(path.as_ref());
        input.push(0);
    }
    input
}
