//! How much memory git may take, and how long it may live. An object, an index or a list
//! of a repository that a task can write may say that it is gigabytes, and is held whole.
//! The program has a limit of the kernel's, and is told to end when envctl has; its
//! library, which lives in this process, gets no single piece that is larger than any
//! that it needs.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal};

/// The largest piece that git's library gets, in bytes: the index of some millions
/// of files. Contents of files are never read by it where they are larger.
pub const MOST_OF_LIBRARY: usize = 512 << 20;

/// What a program gets at least, and at most, in bytes.
const MOST_OF_PROGRAM: (u64, u64) = (1 << 30, 4 << 30);

/// Why a git does not begin whose parent has ended.
const ORPHAN: std::io::ErrorKind = std::io::ErrorKind::BrokenPipe;

/// The memory of one git program, in bytes: half of this machine's, within
/// [`MOST_OF_PROGRAM`].
pub(super) fn of_a_program() -> u64 {
    let here = rustix::system::sysinfo();
    (here.totalram.saturating_mul(here.mem_unit.into()) / 2).clamp(MOST_OF_PROGRAM.0, MOST_OF_PROGRAM.1)
}

/// Bounds a git, and all that it starts (`setrlimit(2)`), before it begins. It is asked
/// to end when the thread that starts it has (`PR_SET_PDEATHSIG`, `prctl(2)`): by a signal
/// on which git takes its lock files away. So that thread has to wait for it.
pub(super) fn bound(command: &mut Command) {
    let most = Some(of_a_program());
    let owner = rustix::process::getpid();
    let settle = move || {
        // It fails where the limit is lower already.
        let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current: most, maximum: most });
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // Whose parent has ended meanwhile gets no signal any more.
        if rustix::process::getppid() == Some(owner) { Ok(()) } else { Err(ORPHAN.into()) }
    };
    // SAFETY: between fork and exec there are system calls only, and nothing is allocated:
    // an error with no words of its own is a number.
    unsafe { command.pre_exec(settle) };
}

/// `git_allocator` of libgit2's `sys/alloc.h`.
#[repr(C)]
struct Allocator {
    malloc: unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

/// Bounds git's library in this process. To be called before anything else of it,
/// while there is one thread.
pub fn bound_library() {
    let mut allocator = Allocator { malloc, realloc, free };
    // SAFETY: the library copies the three functions, which take and give what those
    // of the C library do.
    let code = unsafe {
        libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_ALLOCATOR as c_int, std::ptr::from_mut(&mut allocator))
    };
    debug_assert_eq!(code, 0, "git's library takes an allocator");
}

/// SAFETY: as `malloc(3)`.
unsafe extern "C" fn malloc(size: usize, _: *const c_char, _: c_int) -> *mut c_void {
    if size > MOST_OF_LIBRARY {
        return std::ptr::null_mut();
    }
    // An empty piece is one that can be given back, as with the library's own.
    unsafe { libc::malloc(size.max(1)) }
}

/// SAFETY: as `realloc(3)`.
unsafe extern "C" fn realloc(old: *mut c_void, size: usize, _: *const c_char, _: c_int) -> *mut c_void {
    if size > MOST_OF_LIBRARY {
        return std::ptr::null_mut();
    }
    unsafe { libc::realloc(old, size.max(1)) }
}

/// SAFETY: as `free(3)`.
unsafe extern "C" fn free(piece: *mut c_void) {
    unsafe { libc::free(piece) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_says_that_it_is_huge_is_not_held() {
        bound_library();
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init_bare(dir.path()).unwrap();
        let plain = repo.blob(b"x").unwrap();
        let name = "7".repeat(40);
        let folder = dir.path().join("objects/77");
        std::fs::create_dir(&folder).unwrap();
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, format!("commit {}\0tree ", 3_u64 << 30).as_bytes()).unwrap();
        std::fs::write(folder.join(&name[2..]), packed.finish().unwrap()).unwrap();
        let error = repo.find_commit(git2::Oid::from_str(&name).unwrap()).map(drop).unwrap_err();
        assert_eq!(error.class(), git2::ErrorClass::NoMemory, "{error}");
        assert_eq!(repo.find_blob(plain).unwrap().content(), b"x");
    }

    #[test]
    fn git_is_bounded() {
        let mut command = Command::new("sleep");
        bound(&mut command);
        let mut child = command.arg("60").spawn().unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(&*of_a_program().to_string()), "{line}");
    }

    #[test]
    fn git_ends_with_the_thread_that_waits_for_it() {
        let start = || {
            let mut command = Command::new("sleep");
            bound(&mut command);
            command.arg("60").spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::TERM.as_raw()));
    }
}
