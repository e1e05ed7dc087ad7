//! What a checkout holds arrives: git says the same on both sides.

mod branches;
mod clones;
mod equal;
mod files;
mod index;
mod large;
mod left_out;
mod lfs;
mod moment;
mod moving;
mod names;
mod odd_setups;
mod operations;
mod random;
mod real;
mod refusals;
mod republish;
mod selection;
mod settings;
mod submodules;
