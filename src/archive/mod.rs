//! Archives: tar streams, compressed or not, into file trees and back. What
//! image layers and sealed trees have in common.

mod extract;
mod path;
mod stream;
mod tar;

pub use extract::{Counts, Kind, Owned};
pub use stream::{Target, unpack};
