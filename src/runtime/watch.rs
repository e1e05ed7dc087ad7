//! The thread that watches the workspace of a runtime that lives.
//!
//! Invariant: it ends with the runtime. Whoever ends it has all that it has to say, and
//! does not wait until the kernel has closed what it watched with.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use anyhow::Result;
use rustix::pipe::PipeFlags;

use super::sys;
use crate::error::of_thread;

/// What a watch has to say, and descriptors that take the kernel its time to close.
pub(super) type WatchNews = (Vec<String>, Vec<OwnedFd>);

/// A watch over the workspace of a runtime that lives.
#[derive(Debug)]
pub(super) struct WorkspaceWatch {
    go: Option<OwnedFd>,
    said: mpsc::Receiver<Vec<String>>,
    thread: std::thread::JoinHandle<()>,
}

impl WorkspaceWatch {
    /// Starts it. The descriptor that it is given can be read once a command runs, and
    /// hangs up when nothing does any more.
    pub(super) fn start(watch: impl FnOnce(OwnedFd) -> WatchNews + Send + 'static) -> Result<Self> {
        // Nobody waits for who does not read it.
        let (stop, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (tell, said) = mpsc::channel();
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            // They are for the thread that carries them inside.
            let _ = sys::signal_fd(&(1..32).collect::<Vec<_>>());
            let (found, closing) = watch(stop);
            let _ = tell.send(found);
            drop(closing);
        })?;
        sys::WATCHING.fetch_add(1, Ordering::Relaxed);
        Ok(WorkspaceWatch { go: Some(go), said, thread })
    }

    /// A command runs from now on.
    pub(super) fn begin(&self) {
        let _ = self.go.as_ref().map(|go| rustix::io::write(go, b"b"));
    }

    /// Nothing runs any more.
    pub(super) fn stop(&mut self) {
        self.go = None;
    }

    /// Ends it; what it has to say.
    pub(super) fn end(mut self) -> Vec<String> {
        self.stop();
        sys::WATCHING.fetch_sub(1, Ordering::Relaxed);
        self.said.recv().unwrap_or_else(|_| {
            let died = of_thread(self.thread.join(), "the watch over the workspace");
            died.err().map(|died| died.to_string()).into_iter().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn who_ends_a_watch_hears_what_it_says_and_how_it_died() {
        let watch = WorkspaceWatch::start(|stop| {
            let mut fds = [PollFd::new(&stop, PollFlags::IN)];
            poll(&mut fds, None).unwrap();
            let mut word = [0; 1];
            let begun = rustix::io::read(&stop, &mut word).unwrap() == 1;
            poll(&mut [PollFd::new(&stop, PollFlags::empty())], None).unwrap();
            (vec![format!("begun: {begun}")], vec![stop])
        });
        let watch = watch.unwrap();
        watch.begin();
        assert_eq!(watch.end(), ["begun: true"]);
        let watch = WorkspaceWatch::start(|_| panic!("no room")).unwrap();
        let said = watch.end();
        assert!(said[0].contains("the watch over the workspace died: no room"), "{said:?}");
    }
}
