//! Points at which a test lets this program die, as if it had been killed
//! there. In release builds they are nothing.

/// All points. The first word is the verb whose test goes through it; `init`
/// is pid 1 of a runtime, `detach` its supervisor.
pub const POINTS: &[&str] = &[
    "cold.resolved",
    "cold.snapshot",
    "cold.layer-unpacked",
    "cold.layer-published",
    "cold.mirror-made",
    "cold.fetched",
    "cold.workspace-begun",
    "cold.workspace-applied",
    "cold.workspace-in-place",
    "cold.pinned",
    "seal.started",
    "seal.made",
    "seal.published",
    "seal.placed",
    "seal.cleared",
    "seal.alone",
    "refresh.set-aside",
    "refresh.exchanged",
    "retire.noted",
    "retire.moved",
    "retire.forgotten",
    "retire.thrown-away",
    "recover.moved",
    "enter.folder-made",
    "enter.folder-locked",
    "enter.cloned",
    "enter.mapped",
    "enter.lease-written",
    "enter.started",
    "enter.ended",
    "init.born",
    "init.mounted",
    "init.ready",
    "init.asked",
    "leave.killed",
    "leave.scratch-removed",
    "leave.receipt-written",
    "leave.forgotten",
    "detach.forked",
    "detach.ready",
    "detach.told",
    "exec.joined",
    "exec.started",
    "reset.looked",
    "reset.killed",
    "publish.captured",
    "publish.image",
    "publish.parts",
    "publish.manifest",
    "publish.named",
    "publish.remembered",
    "publish.moved",
    "gc.workspaces",
    "gc.leases",
    "gc.drafts",
    "gc.trash",
];

#[cfg(debug_assertions)]
fn wanted() -> &'static Option<String> {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "no part of what users can set")]
    WANTED.get_or_init(|| std::env::var("ENVCTL_TEST_CRASH").ok())
}

/// Whether a test wants to see what is found at the end of a run, and not before.
#[cfg(debug_assertions)]
pub fn is_unwatched() -> bool {
    wanted().as_deref() == Some("unwatched")
}

/// Never.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn is_unwatched() -> bool {
    false
}

/// Dies here if a test wants it, or stops until somebody lets it go on.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let wanted = wanted();
    if wanted.as_deref().and_then(|wanted| wanted.strip_prefix("stop:")) == Some(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
    if wanted.as_deref() == Some(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The first process of a namespace cannot kill itself.
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &'static str) {}
