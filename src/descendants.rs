//! The processes that descend from this one, and their end.
//!
//! Whoever uses it is a subreaper (`PR_SET_CHILD_SUBREAPER`): a process whose parent ends
//! becomes its child, and is found.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// A process, as `/proc` shows it.
#[derive(Debug)]
pub(crate) struct Descendant {
    pub(crate) name: String,
    parent: u32,
    session: u32,
    /// What it has computed, in ticks of the clock, proc_pid_stat(5).
    pub(crate) ticks: u64,
    dead: bool,
}

impl Descendant {
    fn read(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, also brackets.
        let (head, tail) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = tail.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        Some(Descendant {
            name: head.split_once('(')?.1.to_owned(),
            parent: u32::try_from(number(1)?).ok()?,
            session: u32::try_from(number(3)?).ok()?,
            ticks: number(11)? + number(12)?,
            dead: matches!(fields.first(), Some(&"Z" | &"X")),
        })
    }
}

/// Everything that descends from a process.
pub(crate) fn below(root: u32) -> BTreeMap<u32, Descendant> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut all: BTreeMap<u32, Descendant> = pids.filter_map(|pid| Some((pid, Descendant::read(pid)?))).collect();
    let mut found = BTreeMap::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children: Vec<u32> = all.iter().filter(|(_, child)| child.parent == parent).map(|(pid, _)| *pid).collect();
        for pid in children {
            if let Some(process) = all.remove(&pid) {
                found.insert(pid, process);
                parents.push(pid);
            }
        }
    }
    found
}

/// Ends a child and what it started, but for what has made itself a session of its own.
pub(crate) fn end_all(child: &mut Child) {
    let mine = Descendant::read(std::process::id()).map_or(0, |process| process.session);
    for _ in 0..50 {
        let left = below(std::process::id());
        let mut left = left.iter().filter(|(_, process)| process.session == mine && !process.dead).peekable();
        if left.peek().is_none() {
            break;
        }
        for (pid, _) in left {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.wait();
}
