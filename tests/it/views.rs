//! What a developer looks at before they step in.

mod compared;
mod crowd;
mod page;
