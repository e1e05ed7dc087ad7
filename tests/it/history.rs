//! What a task was, and what others make of it at the same time.

mod claims;
mod compared;
mod lineage;
mod lines;
mod moved;
mod stories;
