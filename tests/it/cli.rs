//! What people and scripts read and type, whatever the verb.

mod completion;
mod output;
mod pinned;
mod words;
