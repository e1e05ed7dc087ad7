//! Why a kernel says no, and what to do about it.

use std::fs;
use std::io;

use anyhow::Error;

use crate::error::failure;

/// Whether this process may write any id map: root in the initial user
/// namespace, or one to which a whole range was given.
pub(super) fn may_map_any_id() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let total: u64 = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    total > 65_536
}

fn setting(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// An error of something that needs a user namespace, with the cause that the
/// kernel's settings suggest and the command that helps.
pub(super) fn explain_user_namespace(error: io::Error, what: &str) -> Error {
    let hint = if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1)
        && !rustix::process::geteuid().is_root()
    {
        "AppArmor forbids unprivileged user namespaces here (Ubuntu 24.04 and later): \
         run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
         or install an AppArmor profile that allows userns for envctl; `envctl help unprivileged` has one"
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        "the kernel forbids unprivileged user namespaces: run `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
    } else if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        "user namespaces are switched off: run `sudo sysctl -w user.max_user_namespaces=15000`"
    } else if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
        "inside a container, it must be allowed to make user namespaces and mounts; `envctl enter TASK --no-runtime` works without"
    } else if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) {
        "the runtime needs Linux 5.15 or newer with user, pid, mount, ipc, uts and net namespaces"
    } else {
        "`envctl enter TASK --no-runtime` gives the workspace without a runtime"
    };
    Error::new(error).context(failure(what).hint(hint))
}
