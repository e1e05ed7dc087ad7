//! What is cleared, and what is fetched ahead, while nobody waits.

mod gc;
mod prefetch;
