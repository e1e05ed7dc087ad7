//! What a runtime has used, as the kernel counted it. What nobody counted is
//! absent, never nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sys::ProcessUsage;

/// Of what a peak of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakOf {
    /// All processes together, as their cgroup counted.
    Runtime,
    /// The largest process: there was no cgroup.
    LargestProcess,
}

/// What a runtime has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Milliseconds from its making to its end.
    pub wall_ms: Option<u64>,
    /// Milliseconds of processors' time, of all its processes.
    pub cpu_ms: Option<u64>,
    /// The most memory in use, in bytes.
    pub peak_memory: Option<u64>,
    /// Of what that is the peak.
    pub peak_of: Option<PeakOf>,
    /// Bytes that its processes wrote to disks.
    pub written_bytes: Option<u64>,
}

impl Usage {
    /// Puts together what was counted at the end.
    pub(super) fn of(wall: Duration, counted: ProcessUsage, cgroup_peak: Option<u64>) -> Self {
        let (peak, of) = match cgroup_peak {
            Some(peak) => (peak, PeakOf::Runtime),
            None => (counted.largest, PeakOf::LargestProcess),
        };
        Usage {
            wall_ms: u64::try_from(wall.as_millis()).ok(),
            cpu_ms: Some(counted.cpu_ms),
            // A kernel that counts no memory says nothing.
            peak_memory: (peak > 0).then_some(peak),
            peak_of: (peak > 0).then_some(of),
            written_bytes: Some(counted.written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_is_absent() {
        let counted = ProcessUsage { exit_status: Some(0), cpu_ms: 5, largest: 0, written: 0 };
        let usage = Usage::of(Duration::from_millis(7), counted, None);
        assert_eq!((usage.wall_ms, usage.peak_memory, usage.peak_of), (Some(7), None, None));
        let usage = Usage::of(Duration::ZERO, counted, Some(9));
        assert_eq!((usage.peak_memory, usage.peak_of), (Some(9), Some(PeakOf::Runtime)));
        assert_eq!(serde_json::to_value(Usage::default()).unwrap()["peak_memory"], serde_json::Value::Null);
    }
}
