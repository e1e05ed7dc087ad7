//! What looks like a secret.

use std::ops::Range;

/// A secret in a text: places, never content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) whole: Range<usize>,
    pub(super) secret: Range<usize>,
}
