//! Git LFS as far as it is a format: pointers, and folders of contents.

mod contents;
mod pointer;

pub use contents::Contents;
pub use pointer::{MAX_POINTER, Pointer};
