//! What a runtime may use: memory, processes, processors' time.
//!
//! Where the machine delegates a cgroup (version 2) to the developer the kernel enforces
//! all of it ([`cgroup`]). Elsewhere what can be enforced without one is, and what cannot
//! is said ([`asked`]).
//!
//! What nobody limits is limited to a share of the machine ([`machine`]), by pid 1 and by
//! `RLIMIT_NPROC` alone: a cgroup takes its time to make, and is for who asks. What
//! processes use is read in [`memory`].

mod asked;
mod cgroup;
mod machine;
mod memory;

pub use asked::{Assumed, Enforced, Limits, Means, OutOfMemory};
pub(super) use cgroup::{Born, Cgroup, born, ended_for_memory, peak, remove};
pub use machine::memory_here;
pub(super) use memory::{Memory, exact_memory_of, memory_of, name_of, together};

/// One of each, for tests.
#[cfg(test)]
const LIMITS: Limits = Limits {
    memory: Some(1 << 30),
    processes: Some(100),
    cpus: Some(1.5),
    assumed: Assumed { memory: false, processes: false },
    required: false,
};
