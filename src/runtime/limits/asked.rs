//! What is asked for, what nobody asks for, and how each is kept.

use serde::{Deserialize, Serialize};

use super::machine::{memory_here, processes_here};
use crate::error::{Fault, policy};

/// Of the machine's memory, what one runtime may use when nobody says: three of so many
/// parts.
const PARTS: u64 = 4;

/// Upper limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all processes together.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// Which of them nobody asked for.
    #[serde(default)]
    pub assumed: Assumed,
    /// One that is asked for and cannot be kept stops the runtime from being made.
    #[serde(default)]
    pub required: bool,
}

/// Limits that nobody asked for: shares of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumed {
    /// `memory`
    pub memory: bool,
    /// `processes`
    pub processes: bool,
}

/// That programs were ended because all of them together used too much memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Bytes that all of them may use.
    pub limit: u64,
    /// Nobody asked for that limit.
    pub assumed: bool,
    /// How many were ended.
    pub ended: u64,
    /// The largest of them, as it calls itself; `None` where the kernel chose.
    pub program: Option<String>,
    /// Bytes that it had.
    pub program_bytes: Option<u64>,
    /// Bytes of files in `/tmp`, `/dev/shm`, `/run` and elsewhere outside of the
    /// workspace.
    pub scratch_bytes: Option<u64>,
}

/// How a limit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// The kernel keeps it, for all processes together.
    Cgroup,
    /// The kernel keeps it, for the processes of one user (`RLIMIT_NPROC`).
    Rlimit,
    /// Pid 1 looks several times a second, and kills what is too large.
    Watched,
    /// It is not kept.
    None,
}

/// How each limit that was asked for is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// Of `memory`.
    #[serde(default)]
    pub memory: Option<Means>,
    /// Of `processes`.
    #[serde(default)]
    pub processes: Option<Means>,
    /// Of `cpus`.
    #[serde(default)]
    pub cpus: Option<Means>,
}

impl Limits {
    /// With a share of this machine where nothing is asked for. Processors' time is
    /// shared by the kernel anyway.
    #[must_use]
    pub fn or_share(self) -> Self {
        self.or_share_of(memory_here(), processes_here())
    }

    fn or_share_of(mut self, memory: Option<u64>, processes: Option<u64>) -> Self {
        if self.memory.is_none() {
            self.memory = memory.map(|bytes| bytes / PARTS * (PARTS - 1));
            self.assumed.memory = true;
        }
        if self.processes.is_none() {
            self.processes = processes.and_then(|count| u32::try_from(count / 2).ok());
            self.assumed.processes = true;
        }
        self
    }

    /// Bytes that may be written outside of the workspace, into memory: half of what
    /// was asked for, so that files alone end no program.
    pub(in crate::runtime) fn scratch(&self) -> Option<u64> {
        self.memory.filter(|_| !self.assumed.memory).map(|bytes| bytes / 2)
    }

    /// Whether nobody asks for any.
    pub(super) fn is_empty(&self) -> bool {
        let (memory, processes) = (self.memory.is_none(), self.processes.is_none());
        (memory || self.assumed.memory) && (processes || self.assumed.processes) && self.cpus.is_none()
    }

    /// Makes sure that what is asked for and required is kept.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] with what is not.
    pub(in crate::runtime) fn must_be_kept(&self, enforced: &Enforced) -> Result<(), Fault> {
        let lost = |name: &'static str, means: Option<Means>, assumed: bool| {
            (means == Some(Means::None) && !assumed).then_some(name)
        };
        let lost = [
            lost("memory", enforced.memory, self.assumed.memory),
            lost("processes", enforced.processes, self.assumed.processes),
            lost("cpus", enforced.cpus, false),
        ];
        let lost: Vec<&str> = lost.into_iter().flatten().collect();
        if !self.required || lost.is_empty() {
            return Ok(());
        }
        Err(policy(format!("the limit of {} cannot be kept here, and it is required", lost.join(" and of ")))
            .hint("this machine delegates no cgroup to this user: see envctl doctor; or leave out limits.required"))
    }

    /// The controllers that these need.
    pub(super) fn controllers(&self) -> Vec<&'static str> {
        let wanted =
            [("memory", self.memory.is_some()), ("pids", self.processes.is_some()), ("cpu", self.cpus.is_some())];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::LIMITS;
    use super::*;

    #[test]
    fn what_nobody_limits_is_a_share_of_the_machine() {
        let share = Limits::default().or_share_of(Some(8 << 30), Some(1000));
        assert_eq!((share.memory, share.processes, share.cpus), (Some(6 << 30), Some(500), None));
        assert_eq!(share.assumed, Assumed { memory: true, processes: true });
        // It makes no cgroup, takes no scratch space, and is required of nobody.
        assert!(share.is_empty() && share.scratch().is_none());
        let none = Enforced { memory: Some(Means::None), processes: Some(Means::None), cpus: None };
        assert!(Limits { required: true, ..share }.must_be_kept(&none).is_ok());
        // What is asked for stays.
        assert_eq!(LIMITS.or_share_of(Some(8 << 30), Some(1000)), LIMITS);
        assert_eq!(LIMITS.scratch(), Some(1 << 29));
        assert!(memory_here().is_some_and(|bytes| bytes > 1 << 20) && processes_here().is_some());
    }

    #[test]
    fn a_limit_that_cannot_be_kept_can_be_refused() {
        let enforced =
            Enforced { memory: Some(Means::Watched), processes: Some(Means::Rlimit), cpus: Some(Means::None) };
        assert!(LIMITS.must_be_kept(&enforced).is_ok());
        let refused = Limits { required: true, ..LIMITS }.must_be_kept(&enforced).unwrap_err().to_string();
        assert!(refused.contains("cpus"), "{refused}");
        let kept = Enforced { memory: Some(Means::Watched), processes: Some(Means::Rlimit), cpus: None };
        assert!(Limits { required: true, ..LIMITS }.must_be_kept(&kept).is_ok());
    }
}
