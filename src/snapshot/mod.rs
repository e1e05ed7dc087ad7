//! The semantic state of a checkout: what was committed and not pushed, what
//! was staged, changed, deleted and added. Taken by [`mod@capture`] as a
//! [`Draft`] that can be looked at before it is packed, put back by
//! [`mod@apply`], compared by [`mod@parity`] and [`mod@compare`]. Not a disk: git's
//! own objects carry it.

mod apply;
mod aside;
mod attributes;
mod bounds;
mod capture;
mod compare;
mod contents;
mod damaged;
mod document;
mod draft;
mod edit;
mod files;
mod folders;
mod glance;
mod history;
mod ignored;
mod index;
mod left_behind;
mod left_out;
mod lfs;
mod moment;
mod open;
mod operation;
mod pack;
mod parity;
mod paths;
mod prove;
mod read;
mod refuse;
mod remote;
mod restless;
mod scan;
mod scratch;
mod settings;
mod status;
mod stood;
mod submodule;
mod times;
mod untouched;
mod verbatim;
mod vigil;
mod wire;

pub use apply::{Applied, apply};
pub use capture::{CaptureOptions, Captured, DraftPack, capture, capture_and};
pub use compare::{Changes, CommitLine, FileChange, FileStatus, SnapshotSide, compare, since_base};
pub use damaged::explained;
pub use document::{Document, GitPath, MAX_DOCUMENT, Pack, TrackingRef};
pub use draft::{CommitText, ContentPlace, Draft, DraftContent, DraftInstead, LeaveOut, Reader};
pub use left_behind::{LeftKind as LeftOutKind, LeftOut};
pub use lfs::restore::Fetch;
pub use open::{library, open};
pub use parity::{Parity, parity};
pub use remote::remote_url;
pub use scratch::CAPTURE;
