//! Credentials in bytes: what must never travel.
//!
//! Pure: bytes in, findings out. Three looks at the same content: files that
//! hold credentials by convention (`files`), the rules of a maintained set
//! (`ruleset`), and values that are known to be secret (`values`).
//!
//! Invariants: no finding holds a value or a part of one, in no form, so that
//! nothing that prints findings can print secrets. All searches are linear in
//! the content. What was not searched is named ([`Gap`]), never passed over.

mod assigned;
mod candidate;
mod dedupe;
mod files;
mod finding;
mod noise;
mod pattern;
mod rule;
mod ruleset;
#[cfg(test)]
mod sample;
mod scanner;
mod text;
mod values;

pub use assigned::is_secret_variable;
pub use finding::{Finding, Fingerprint};
pub use scanner::{Looked, Scanner};
pub use text::Gap;
