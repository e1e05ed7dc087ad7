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

pub use extract::{Counts, Kind, Owned};
pub use ownership::Ownership;
pub use pack::{Packed, pack};
pub use stream::{Target, unpack};
pub use tree::{Summary, compare, newest_inside, sanitise, summarise, summarise_inside};
