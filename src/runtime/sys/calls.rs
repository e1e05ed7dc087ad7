//! System calls of programs inside that wait until they are answered
//! (`seccomp_unotify(2)`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Bytes of a path, with the one that ends it.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Bytes of the smallest page that there is: what lies in one is there as a whole.
const PAGE: usize = 4096;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`, seccomp_unotify(2).
const SYNC_WAKE_UP: libc::c_ulong = 1;

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Waiting {
    id: u64,
    /// The thread that made it.
    pub(in crate::runtime) thread: u32,
    /// Its number.
    pub(in crate::runtime) number: libc::c_long,
    /// What it was called with.
    pub(in crate::runtime) arguments: [u64; 6],
}

#[cfg(test)]
impl Waiting {
    /// One that nobody made.
    pub(in crate::runtime) fn test(number: libc::c_long, arguments: [u64; 6]) -> Self {
        Waiting { id: 0, thread: 0, number, arguments }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum CallVerdict {
    /// The kernel goes on with it.
    GoesOn,
    /// It is over, and has succeeded.
    Done,
    /// It is over, and has failed.
    Failed(i32),
}

/// Lets who asks and who answers take turns on one processor, which is several
/// times faster. Kernels before 6.6 cannot.
pub(in crate::runtime) fn take_turns(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// The next call that waits.
pub(in crate::runtime) fn next(listener: BorrowedFd<'_>) -> io::Result<Waiting> {
    // SAFETY: it is plain data, and the kernel wants it to be zero.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let (fd, place) = (listener.as_raw_fd(), std::ptr::from_mut(&mut call));
    // SAFETY: the kernel fills in the structure, which outlives the call.
    check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, place) }.into())?;
    let number = libc::c_long::from(call.data.nr);
    Ok(Waiting { id: call.id, thread: call.pid, number, arguments: call.data.args })
}

/// Answers it. Whoever made it may be gone.
pub(in crate::runtime) fn answer(listener: BorrowedFd<'_>, call: &Waiting, verdict: CallVerdict) -> io::Result<()> {
    // SAFETY: it is plain data; zero is valid for every field.
    let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
    answer.id = call.id;
    match verdict {
        CallVerdict::GoesOn => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        CallVerdict::Done => {}
        CallVerdict::Failed(errno) => answer.error = -errno,
    }
    let (fd, place) = (listener.as_raw_fd(), std::ptr::from_mut(&mut answer));
    // SAFETY: the kernel reads the structure, which outlives the call.
    check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, place) }.into())?;
    Ok(())
}

/// Whether it still waits: else its thread may be another one by now.
pub(in crate::runtime) fn waits(listener: BorrowedFd<'_>, call: &Waiting) -> bool {
    let fd = listener.as_raw_fd();
    // SAFETY: the kernel reads the number, which outlives the call.
    check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, std::ptr::from_ref(&call.id)) }.into()).is_ok()
}

/// A text in the memory of the thread that made a call, without the byte that
/// ends it.
pub(in crate::runtime) fn text(call: &Waiting, address: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0u8; PATH_MAX];
    let address = usize::try_from(address).map_err(io::Error::other)?;
    let first = PAGE - address % PAGE;
    let far = |start: usize, length: usize| libc::iovec { iov_base: start as *mut libc::c_void, iov_len: length };
    // What is not there is not read, and of what is there nothing is left out.
    let parts = [far(address, first), far(address.saturating_add(first), PATH_MAX - first)];
    let near = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let (near, far, count) = (std::ptr::from_ref(&near), parts.as_ptr(), parts.len() as libc::c_ulong);
    // SAFETY: the kernel writes into `bytes`, no more than it holds, and checks
    // every address of the other process.
    let read = check(unsafe { libc::process_vm_readv(call.thread as i32, near, 1, far, count, 0) } as libc::c_long)?;
    bytes.truncate(usize::try_from(read).unwrap_or(0));
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?;
    bytes.truncate(end);
    Ok(bytes)
}
