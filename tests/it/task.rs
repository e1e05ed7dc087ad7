//! A task: its pins and its lines, and what others make of it at the same time.

mod claims;
mod lineage;
mod lines;
mod moved;
mod pins;
mod stories;
