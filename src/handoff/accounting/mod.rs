//! What runtimes used and cost: a line in the [`ledger`] for each that has ended, and
//! the sums over it ([`mod@costs`]); old lines are folded together ([`mod@fold`]).

mod costs;
mod fold;
mod ledger;

pub use costs::{By, CostRow, Costs, Suggestion, Sum, costs};
pub(crate) use ledger::append;
pub use ledger::{LedgerEntry, MadeBy};
