//! L2: the checkout that persists. A clone of its own per task that borrows
//! objects from a mirror through alternates, so that refs, stash, config and
//! hooks are never shared between tasks.
//!
//! Invariants: the mirror holds only what the remote has, and a keep-ref for
//! every base in use; a workspace appears whole, by rename.

mod audit;
mod branches;
mod clone;
mod files;
mod loose;
mod mirror;
mod nearby;
mod openable;
mod protect;
mod times;
mod watch;

pub use audit::{Audited, AuditedRun, Planted, Since, audit, distrust, obeyed};
pub use branches::Branches;
pub use clone::{WorkspaceDraft, flush, is_workspace};
pub use files::{Files, WorkspaceFile, content_above};
pub use loose::{KnownCommits, is_clean, loose_ends};
pub use mirror::{FetchWatch, Fetched, Mirror, MirrorRemote, RemotePlace};
pub use nearby::{Copied, Nearby};
pub use protect::{name_author, protect};
pub use times::{Time, of_tree};
pub use watch::{Watched, watch};
