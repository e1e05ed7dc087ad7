//! The semantic state of a checkout: what was committed and not pushed, what
//! was staged, changed, deleted and added. Taken by [`mod@capture`] as a
//! [`Draft`] that can be looked at before it is packed, put back and compared by
//! `restore`. Not a disk: git's own objects carry it.
//!
//! From below: `wire` and `paths` are how things are written; `operation`, `format`,
//! `contents`, `lfs` and `tree` know no checkout; `checkout`, `upstream`, `submodule` and
//! `worktree` read one; `restore` makes one; `capture` uses them all.

mod capture;
mod checkout;
mod contents;
mod format;
mod lfs;
mod operation;
mod paths;
mod restore;
mod submodule;
mod tree;
mod upstream;
mod wire;
mod worktree;

pub use capture::draft::{CommitText, ContentPlace, Draft, DraftContent, DraftInstead, LeaveOut, Reader};
pub use capture::pipeline::{CaptureOptions, Captured, DraftPack, capture, capture_and};
pub use checkout::damaged::explained;
pub use checkout::open::{library, open};
pub use checkout::scratch::CAPTURE;
pub use format::document::{Document, GitPath, MAX_DOCUMENT, Pack, TrackingRef};
pub use format::left_behind::{LeftKind as LeftOutKind, LeftOut};
pub use lfs::restore::Fetch;
pub use restore::apply::{Applied, apply};
pub use restore::compare::{Changes, CommitLine, FileChange, FileStatus, SnapshotSide, compare, since_base};
pub use restore::parity::{Parity, parity};
pub use upstream::remote::remote_url;
