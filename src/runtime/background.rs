//! Work that goes on after the command has returned: nobody waits for it, and
//! losing it costs time only.

use rustix::fs::{Mode, OFlags};

use super::sys;
use super::sys::Side;

/// Does `work` in a process of its own that outlives this one, with none of
/// its descriptors and no terminal. Where no process can be made, here.
///
/// The caller may have no other thread that still works.
pub fn in_background(work: impl FnOnce()) {
    match sys::wait_for_threads().and_then(|()| sys::fork()) {
        Ok(Side::Parent(between)) => {
            let _ = rustix::process::waitpid(Some(between), rustix::process::WaitOptions::empty());
        }
        Ok(Side::Child) => {
            // Twice, so that it is no child of the caller, who need not wait.
            match sys::fork() {
                Ok(Side::Child) => {
                    if let_go().is_ok() {
                        work();
                    }
                    sys::exit_now(0)
                }
                _ => sys::exit_now(0),
            }
        }
        Err(_) => work(),
    }
}

/// Leaves the caller's descriptors: among them are locks, and sockets whose
/// hang-up means something.
fn let_go() -> std::io::Result<()> {
    sys::close_all_but(3, &[])?;
    rustix::process::setsid()?;
    // What somebody waits for comes first.
    let _ = rustix::process::nice(10);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::chdir("/")?;
    Ok(())
}
