//! What is put out of git's way is called.

use std::ffi::{CStr, CString};

use crate::digest::hex;

pub(super) const SUFFIX: &str = ".envctl-quarantine";

pub(super) fn unguessable(name: &CStr) -> CString {
    let mut bytes = [0u8; 8];
    // Without random bytes it is a name all the same.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let name = name.to_bytes();
    let plain = memchr::memmem::find(name, SUFFIX.as_bytes()).and_then(|at| name.get(..at)).unwrap_or(name);
    // What was almost too long for a name must not stay because of that.
    let plain = plain.get(..200).unwrap_or(plain);
    CString::new([plain, SUFFIX.as_bytes(), b"-", hex(&bytes).as_bytes()].concat()).unwrap_or_default()
}
