//! What is brought here, and from where.

mod nearby;
