//! What runtimes used and cost: a line in the [`ledger`] for each that has ended, and
//! the sums over it ([`mod@costs`]).

mod costs;
mod ledger;

pub use costs::{By, CostRow, Costs, Suggestion, Sum, costs};
pub(crate) use ledger::append;
pub use ledger::{Entry, Made};
