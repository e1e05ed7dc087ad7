//! Git's trees and files: what attributes ask for, a few paths of a tree changed, and files
//! made of a tree, with their times.

pub(super) mod attributes;
pub(super) mod edit;
pub(super) mod files;
pub(super) mod times;
