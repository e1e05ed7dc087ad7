//! Archives: tar streams, compressed or not, into file trees and back. What
//! image layers and sealed trees have in common.

mod extract;
mod ownership;
mod pack;
mod path;
mod shown;
mod stream;
mod tar;
mod tree;

pub use extract::{ArchiveKind, Counts, Owned};
pub use ownership::Ownership;
pub use pack::{Packed, pack};
pub use stream::{UnpackTarget, unpack};
pub use tree::{TreeSummary, compare, newest_inside, sanitise, summarise, summarise_inside};
