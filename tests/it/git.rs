//! Git on the developer's machine: whom it asks, and what of a stranger's it reads.

mod contact;
mod hostile;
