//! What takes effect with the developer's word alone, and how they are asked for it.

mod approval;
mod asked;
