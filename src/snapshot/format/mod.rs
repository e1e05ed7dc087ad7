//! The snapshot as it is written down: the document and what stays behind, the index, and
//! the bounds of what a pack may unfold to. It knows no checkout.

pub(super) mod bounds;
pub(super) mod document;
pub(super) mod index;
pub(super) mod left_behind;
