//! A command that stops at one of its steps, until it is let go on.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::{Call, until};

/// It has got to its step.
pub struct Stopped(Child);

impl Stopped {
    /// Starts it.
    #[track_caller]
    pub fn at(point: &str, call: Call) -> Self {
        let child = call.env("ENVCTL_TEST_CRASH", format!("stop:{point}")).spawn();
        until(&format!("it has stopped at {point}"), || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
        Stopped(child)
    }

    /// Lets it go on to its end, which is a success: what it printed and said.
    #[track_caller]
    pub fn end(self) -> (String, String) {
        kill_process(Pid::from_child(&self.0), Signal::CONT).unwrap();
        ended(self.0)
    }
}

impl Stopped {
    /// Lets it go on to a failure that it gives the reason of; what it said.
    #[track_caller]
    pub fn fails(self, code: i32, reason: &str) -> String {
        kill_process(Pid::from_child(&self.0), Signal::CONT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(reason), "{:?}: {said}", output.status);
        said
    }
}

/// What a command printed and said. It succeeds.
#[track_caller]
pub fn ended(child: Child) -> (String, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}
