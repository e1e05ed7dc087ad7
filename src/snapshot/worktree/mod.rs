//! From the files of a checkout to a tree: which are read, how, and whether they stood still.

pub(super) mod read;
pub(super) mod scan;
pub(super) mod stood;
pub(super) mod untouched;
pub(super) mod verbatim;
