//! What is put out of git's way is called.

use std::ffi::{CStr, CString};

use crate::digest::hex;

pub(super) const SUFFIX: &str = ".envctl-quarantine";

/// Git takes nothing for a ref that ends like this, `git-check-ref-format(1)`.
const NO_REF: &str = ".lock";

/// Whether something was put out of git's way.
pub(super) fn is_put_away(name: &CStr) -> bool {
    memchr::memmem::find(name.to_bytes(), SUFFIX.as_bytes()).is_some()
}

/// The plain name; among refs one that git takes for none.
pub(super) fn put_away(name: &CStr, among_refs: bool) -> CString {
    let end = if among_refs { NO_REF } else { "" };
    CString::new([name.to_bytes(), SUFFIX.as_bytes(), end.as_bytes()].concat()).unwrap_or_default()
}

/// The same that nobody could know beforehand.
pub(super) fn unguessable(name: &CStr, among_refs: bool) -> CString {
    let mut bytes = [0u8; 8];
    // Without random bytes it is a name all the same.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let name = name.to_bytes();
    let plain = memchr::memmem::find(name, SUFFIX.as_bytes()).and_then(|at| name.get(..at)).unwrap_or(name);
    // What was almost too long for a name must not stay because of that.
    let plain = plain.get(..200).unwrap_or(plain);
    let end = if among_refs { NO_REF } else { "" };
    CString::new([plain, SUFFIX.as_bytes(), b"-", hex(&bytes).as_bytes(), end.as_bytes()].concat()).unwrap_or_default()
}
