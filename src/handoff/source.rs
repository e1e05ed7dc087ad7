//! Where the parts of a task come from, and how far they have come.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

use super::context::{Context, Located};
use super::resolve::open_store;
use crate::error::failure;
use crate::store::Store;
use crate::ui::{Bar, Progress};

/// Where a task's parts come from: its store, opened when something is first
/// needed from it, and only once. Threads of a registry's connections end when
/// this is dropped.
pub(super) struct Source<'a> {
    pub(super) ctx: &'a Context,
    pub(super) task: Located,
    store: OnceLock<Box<dyn Store>>,
    progress: Progress,
    stopped: AtomicBool,
}

impl<'a> Source<'a> {
    pub(super) fn new(ctx: &'a Context, task: Located) -> Self {
        let progress = ctx.ui.progress();
        Source { ctx, task, store: OnceLock::new(), progress, stopped: AtomicBool::new(false) }
    }

    pub(super) fn store(&self) -> Result<&dyn Store> {
        if self.store.get().is_none() {
            let opened = open_store(self.ctx, &self.task)?;
            // Another thread may have been first; then this one is closed again.
            let _ = self.store.set(opened);
        }
        self.store.get().map(|store| &**store).context("the store is not open")
    }

    /// Another part has failed: the rest need not be finished.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn go_on(&self) -> std::io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(std::io::Error::other(failure(STOPPED))) } else { Ok(()) }
    }

    pub(super) fn bar(&self, label: &str, total: u64) -> Finishing {
        Finishing(self.progress.bar(label, total))
    }

    /// A stream that is shown as a part of `total` bytes.
    pub(super) fn watched<R: Read>(&'a self, content: R, label: &str, total: u64) -> impl Read + use<'a, R> {
        Watched { content, bar: self.bar(label, total), source: self }
    }
}

const STOPPED: &str = "stopped, because another part failed";

/// Whether this failure is only the echo of another one.
pub(super) fn is_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.to_string() == STOPPED)
}

/// Shows how far a stream has come, and stops with its source.
struct Watched<'a, R> {
    content: R,
    bar: Finishing,
    source: &'a Source<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.source.go_on()?;
        let count = self.content.read(buffer)?;
        self.bar.add(count as u64);
        Ok(count)
    }
}

/// Takes the bar away when the layer is done.
pub(super) struct Finishing(Bar);

impl Finishing {
    pub(super) fn add(&self, count: u64) {
        self.0.add(count);
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.finish();
    }
}
