//! The system calls of a runtime that no safe wrapper offers: each function says why
//! it is sound. The only other unsafe code of this crate is in `disk::held`, `git::bounds`
//! and `git::inflate`.

#![allow(unsafe_code)]

pub(super) mod calls;
pub(super) mod program;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Pid;

/// What a mount that an image or a task fills may not do, for [`mount_setattr`].
pub(super) const NOSUID_NODEV: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// The same, and nothing can be written through it.
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | NOSUID_NODEV;

/// Which side of a clone or fork this is.
pub(super) enum Side<T> {
    Parent(T),
    Child,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Threads that watch, and hold nothing that a copy of another thread needs but
/// the allocator, which the C library keeps usable in a fork.
pub(super) static WATCHING: AtomicU64 = AtomicU64::new(0);

/// Waits until this process has one thread, but for those that watch: those of a
/// finished scope may still be on their way out, and could hold a lock.
pub(super) fn wait_for_threads() -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for _ in 0..1000 {
        // A folder per thread, besides `.` and `..`, proc_pid_task(5).
        if std::fs::metadata("/proc/self/task")?.nlink() <= 3 + WATCHING.load(Ordering::Relaxed) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(io::Error::other("other threads of this process are still running"))
}

/// Flag of `clone3`: the child is in the cgroup that is given. The C type of the other
/// flags is too small for it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `clone3` into new namespaces with a pidfd, without sharing memory: a fork. With the
/// folder of a cgroup the child is in that from its first moment.
///
/// The caller must be single-threaded: the child is a copy of this thread
/// only, and a lock that another thread held would stay locked forever.
pub(super) fn clone_into(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side<(Pid, OwnedFd)>> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data; zero is valid for every field.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (namespaces | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has its own copy of all memory, and
    // the kernel writes the pidfd to a place that outlives the call.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut arguments), std::mem::size_of::<libc::clone_args>())
    })?;
    match Pid::from_raw(pid as i32) {
        None => Ok(Side::Child),
        // SAFETY: the kernel has just made this descriptor for us alone.
        Some(pid) => Ok(Side::Parent((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// `fork`. In a process with other threads the child has this one alone; the
/// C library keeps its allocator usable there, and whatever else another
/// thread may have locked the child must not touch.
pub(super) fn fork() -> io::Result<Side<Pid>> {
    // SAFETY: fork itself has no preconditions; see above for the child.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(Pid::from_raw(pid as i32).map_or(Side::Child, Side::Parent))
}

/// What the kernel counted of a process that has ended, and of all that it and
/// the ones below it have waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUsage {
    /// `None` when a signal ended it.
    pub(super) exit_status: Option<i32>,
    /// Milliseconds of processors' time.
    pub(super) cpu_ms: u64,
    /// Bytes of memory of the largest of them.
    pub(super) largest: u64,
    /// Bytes written to disks.
    pub(super) written: u64,
}

/// `waitid` for the end of a child, with the usage that `wait4(2)` would give.
pub(super) fn wait_counted(pidfd: BorrowedFd<'_>) -> io::Result<ProcessUsage> {
    // SAFETY: both are plain data; zero is valid for every field.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both structures outlive the call, which fills them in.
    let wait = || {
        check(unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                std::ptr::from_mut(&mut info),
                libc::WEXITED,
                std::ptr::from_mut(&mut usage),
            )
        })
    };
    retry(wait)?;
    // SAFETY: the kernel has filled in the part that tells of a child.
    let status = unsafe { info.si_status() };
    let ms = |time: libc::timeval| u64::try_from(time.tv_sec * 1000 + time.tv_usec / 1000).unwrap_or(0);
    Ok(ProcessUsage {
        exit_status: (info.si_code == libc::CLD_EXITED).then_some(status),
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        largest: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        written: u64::try_from(usage.ru_oublock).unwrap_or(0) * 512,
    })
}

fn retry(mut call: impl FnMut() -> io::Result<libc::c_long>) -> io::Result<libc::c_long> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Moves this single-threaded process into a new user namespace.
pub(super) fn unshare_user() -> io::Result<()> {
    // SAFETY: changes namespaces only, no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())?;
    Ok(())
}

/// Gives this single-threaded process a network namespace of its own.
pub(super) fn unshare_network() -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into())?;
    Ok(())
}

/// Gives this single-threaded process a copy of the mounts as they are.
pub(super) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    Ok(())
}

/// Ends the process without running destructors of the copied parent.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Blocks `signals` and returns a descriptor from which they are read.
pub(super) fn signal_fd(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// The next pending signal of a [`signal_fd`].
pub(super) fn read_signal(fd: BorrowedFd<'_>) -> Option<libc::c_int> {
    let mut bytes = [0; std::mem::size_of::<libc::signalfd_siginfo>()];
    let count = rustix::io::read(fd, &mut bytes).ok()?;
    if count != bytes.len() {
        return None;
    }
    // ssi_signo is the first field.
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as libc::c_int)
}

/// All signals as a program expects them: unblocked, and with their default
/// effect. Whoever starts envctl in the background may have them ignored.
pub(super) fn unblock_signals() -> io::Result<()> {
    // SAFETY: as in signal_fd; SIG_DFL is a valid handler for every signal.
    unsafe {
        for signal in (1..32).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()).into())?;
    }
    Ok(())
}

/// Closes every descriptor from `first` on, except those in `keep`.
///
/// Only for processes that use no other descriptor afterwards: owned
/// descriptors that are closed here must not be used or dropped any more.
pub(super) fn close_all_but(first: RawFd, keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut start = first;
    let close = |from: RawFd, to: libc::c_uint| {
        // SAFETY: closing descriptors is memory-safe; the caller vouches for
        // not using them any more.
        check(unsafe { libc::syscall(libc::SYS_close_range, from as libc::c_uint, to, 0) })
    };
    for fd in keep {
        if fd > start {
            close(start, (fd - 1) as libc::c_uint)?;
        }
        start = fd + 1;
    }
    close(start, libc::c_uint::MAX)?;
    Ok(())
}

/// `mount_setattr` on an open mount.
pub(super) fn mount_setattr(mount: impl AsFd, recursive: bool, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated empty string, the attributes live
    // through the call and their true size is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            std::mem::size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data; zero is valid for every field.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request)) }.into())?;
    Ok(())
}

/// Leaves the developer's session keyring for a new, empty one.
pub(super) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read.
    match check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    }) {
        // A kernel without keyrings, or a container that forbids them to
        // everybody inside it: nothing to leave, and nothing to reach.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => other.map(drop),
    }
}

/// Puts a filter of system calls on this process (`seccomp(2)`), without the
/// brake on speculation that kernels before 5.16 add to it. With `listen`, gives
/// the descriptor from which [`calls`] that wait for an answer are read.
pub(super) fn set_seccomp_filter(program: &[libc::sock_filter], listen: bool) -> io::Result<Option<OwnedFd>> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let set = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies the program, which lives through the call.
        check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
        })
    };
    let plain = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if !listen {
        return set(plain).map(|_| None);
    }
    let listening = plain | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let made = match set(listening | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        // Before 5.19 any signal interrupts a call that waits, which is made anew.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set(listening),
        other => other,
    }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(made as RawFd) }))
}

/// Process and user ID of the peer of a unix socket, as this process's
/// namespaces see them; the process ID is 0 for a peer outside.
pub(super) fn peer(socket: impl AsFd) -> io::Result<(i32, u32)> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = std::mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the buffer and its true length are passed.
    check(
        unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                std::ptr::from_mut(&mut credentials).cast(),
                &mut length,
            )
        }
        .into(),
    )?;
    Ok((credentials.pid, credentials.uid))
}
