//! What dead commands left: their runtimes, ended and looked at, before any
//! other command begins.

use crate::handoff::accounting::{self, Entry};
use crate::handoff::app::App;
use crate::runtime;

/// What came of the runtimes whose owners were dead.
#[derive(Debug, Default)]
pub struct Reaped {
    /// Receipts of those that were dealt with.
    pub receipts: Vec<runtime::Receipt>,
    /// How many could not be: something of them is left.
    pub failures: usize,
}

impl App {
    /// Finishes what dead owners left; a failure is told and stops nothing.
    pub fn reap(&self) -> Reaped {
        let (receipts, failures) = runtime::reap(&self.runtimes(), self.clock);
        for receipt in &receipts {
            self.ui.status("Reaped", &format!("the runtime of {} ({})", receipt.task, receipt.reason));
            if let Some(why) = &receipt.uncleared {
                self.ui.warn(why);
            }
            // It comes again until nothing is left.
            if receipt.baseline {
                accounting::append(self, &Entry::orphaned(self, receipt));
            }
        }
        failures.iter().for_each(|error| self.ui.warn(&format!("{error:#}")));
        Reaped { receipts, failures: failures.len() }
    }
}
