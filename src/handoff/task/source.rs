//! Where the parts of a task come from, and how far they have come.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::located::Located;
use crate::error::{Kind, failure, hint_of, kind_of, unreachable};
use crate::handoff::app::App;
use crate::identity::StoreRef;
use crate::store::{Access, Store};
use crate::ui::{Bar, Progress};

/// Where a task's parts come from: its store, opened when something is first
/// needed from it, and only once. Threads of a registry's connections end when
/// this is dropped.
pub(crate) struct Source<'a> {
    pub(crate) app: &'a App,
    pub(crate) task: Located,
    store: OnceLock<Box<dyn Store>>,
    progress: Progress,
    throttle: Option<Arc<Throttle>>,
    stopped: AtomicBool,
    /// No part is fetched that has more bytes, whatever was said of it before.
    pub(crate) most: Option<u64>,
}

impl<'a> Source<'a> {
    /// Whether its store is a folder of this machine, where a look costs nothing.
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.task.store, StoreRef::Layout(_))
    }

    pub(crate) fn new(app: &'a App, task: Located) -> Self {
        Self::throttled(app, task, None)
    }

    /// One from which parts come no faster than this.
    pub(crate) fn throttled(app: &'a App, task: Located, throttle: Option<Throttle>) -> Self {
        let (progress, throttle) = (app.ui.progress(), throttle.map(Arc::new));
        Source { app, task, store: OnceLock::new(), progress, throttle, stopped: AtomicBool::new(false), most: None }
    }

    pub(crate) fn store(&self) -> Result<&dyn Store> {
        if self.store.get().is_none() {
            let opened = open_store(self.app, &self.task, Access::Read)?;
            // Another thread may have been first; then this one is closed again.
            let _ = self.store.set(opened);
        }
        self.store.get().map(|store| &**store).context("the store is not open")
    }

    /// Another part has failed: the rest need not be finished.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn go_on(&self) -> std::io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(std::io::Error::other(failure(STOPPED))) } else { Ok(()) }
    }

    pub(crate) fn bar(&self, label: &str, total: u64) -> Finishing {
        Finishing { bar: self.progress.bar(label, total), throttle: self.throttle.clone() }
    }

    /// A stream that is shown as a part of `total` bytes.
    pub(crate) fn watched<R: Read>(&'a self, content: R, label: &str, total: u64) -> impl Read + use<'a, R> {
        WatchedStream { content, bar: self.bar(label, total), source: self }
    }
}

/// Opens a store, or says what helps.
pub(crate) fn open_store(app: &App, task: &Located, access: Access) -> Result<Box<dyn Store>> {
    app.open(&task.store, access).map_err(|error| {
        if kind_of(&error) != Kind::NotFound || hint_of(&error).is_some() {
            return error;
        }
        let hint = if app.options.offline { "run the command once without --offline" } else { "check --store" };
        error.context(unreachable(format!("cannot open the store {}", task.store)).hint(hint))
    })
}

/// Bytes per second, over all streams together.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: u64,
    /// When the bytes that passed so far may have passed.
    free: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(rate: u64) -> Self {
        Throttle { rate, free: Mutex::new(Instant::now()) }
    }

    fn pass(&self, bytes: u64) {
        let wait = {
            let Ok(mut free) = self.free.lock() else { return };
            let now = Instant::now();
            *free = (*free).max(now) + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
            free.saturating_duration_since(now)
        };
        std::thread::sleep(wait);
    }
}

const STOPPED: &str = "stopped, because another part failed";

/// Whether this failure is only the echo of another one.
pub(crate) fn is_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.to_string() == STOPPED)
}

/// Shows how far a stream has come, and stops with its source.
struct WatchedStream<'a, R> {
    content: R,
    bar: Finishing,
    source: &'a Source<'a>,
}

impl<R: Read> Read for WatchedStream<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.source.go_on()?;
        let count = self.content.read(buffer)?;
        self.bar.add(count as u64);
        Ok(count)
    }
}

/// Takes the bar away when the layer is done.
pub(crate) struct Finishing {
    bar: Bar,
    throttle: Option<Arc<Throttle>>,
}

impl Finishing {
    pub(crate) fn add(&self, count: u64) {
        self.bar.add(count);
        if let Some(throttle) = &self.throttle {
            throttle.pass(count);
        }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        self.bar.finish();
    }
}
