//! What runtimes used and cost: a line ([`entry`]) in the [`ledger`] for each that has
//! ended, and the sums over it ([`mod@costs`]); old lines are folded together
//! ([`mod@fold`]). What may still be spent is a [`mod@budget`], which
//! machines that share a store have together ([`mod@shared`]).

mod budget;
mod costs;
mod entry;
mod fold;
mod ledger;
mod shared;
mod spending;

pub(crate) use budget::{Budget, budget};
pub(crate) use costs::of_task;
pub use costs::{By, CostRow, Costs, Suggestion, Sum, costs};
pub use entry::{LedgerEntry, MadeBy};
pub(crate) use ledger::append;
pub(crate) use shared::{elsewhere, share};
