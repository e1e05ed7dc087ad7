//! Stepping in: what a developer is given and told, and what they are asked when they leave.

mod given;
mod shell;
mod terminal;
