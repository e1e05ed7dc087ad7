//! One page of a task, for who wants to look before stepping in: why it waits, what
//! changed, what was printed, what the tests say, pictures, where all of it comes from,
//! and what it cost here. Everything on it is a stranger's word; see [`super::page`].

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::diff::side_of;
use super::junit::{self, Tests};
use super::page::Page;
use super::show::{Described, Shown, current, described, shown};
use crate::clock::age;
use crate::disk::{self, Durability};
use crate::handoff::accounting::{self, LedgerEntry};
use crate::handoff::app::App;
use crate::handoff::evidence;
use crate::handoff::report::ReportFile;
use crate::handoff::task::Source;
use crate::handoff::words::by_kind;
use crate::handoff::words::quote;
use crate::identity::{ArtifactType, Provenance, TaskRef};
use crate::quantity::{human_bytes, human_duration};
use crate::snapshot::{Changes, since_base};
use crate::store::Store;
use crate::ui::counted;
use crate::visible::without_colours;

/// The largest file of each kind that is on the page, in bytes.
const LONG_LOG: u64 = 1 << 20;
const LONG_REPORT: u64 = 4 << 20;
const LARGE_PICTURE: u64 = 4 << 20;

/// All of them together, in bytes, and how many.
const MOST_BYTES: u64 = 32 << 20;
const MOST_FILES: usize = 60;

/// Lines of a log that are on the page, the last ones.
const LOG_LINES: usize = 2000;

/// Changed lines that are on the page.
const PATCH_LINES: usize = 20_000;

/// Runs in the plot, the last ones.
const MOST_RUNS: usize = 100;

/// What is on the page.
#[derive(Debug)]
struct View {
    shown: Shown,
    now: jiff::Timestamp,
    changes: Option<Changes>,
    artifacts: Vec<Provenance>,
    files: Vec<Piece>,
    runs: Vec<LedgerEntry>,
    cost: Option<f64>,
    /// What could not be had, and why.
    unknown: Vec<String>,
}

/// A piece of evidence that is shown.
#[derive(Debug)]
enum Piece {
    Log(String, String),
    Tests(String, Tests),
    Picture(String, Vec<u8>),
}

/// The page of a task, as HTML that needs nothing else.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such task. What else cannot be had
/// is named on the page.
pub fn view(app: &App, reference: &TaskRef) -> Result<String> {
    let source = Source::new(app, app.locate(reference)?);
    let (resolved, asked) = current(app, &source)?;
    let mut unknown = Vec::new();
    let mut known = |what: &str, error: anyhow::Error| unknown.push(format!("{what} could not be had: {error:#}"));
    let changes = side_of(&source, &resolved).and_then(|side| since_base(side, true));
    let changes = changes.map_err(|error| known("changes", error)).ok();
    let artifacts = described(&source, &resolved, asked).map_err(|error| known("artifacts", error));
    let Described { artifacts, skipped } = artifacts.unwrap_or_default();
    let store = if asked { Some(source.store()?) } else { None };
    let files = pieces(app, store, &artifacts, &mut known);
    let (runs, cost) = accounting::of_task(app, &source.task.store.to_string(), &source.task.target.to_string())?;
    let shown = Shown { artifacts_skipped: skipped, ..shown(app, &source, resolved, asked)? };
    Ok(View { shown, now: app.clock.now(), changes, artifacts, files, runs, cost, unknown }.page())
}

/// Puts a page where the developer says, or where envctl keeps what is looked at; the path.
///
/// # Errors
/// When it cannot be written, and for a link that lies in its place.
pub fn put_page(app: &App, reference: &TaskRef, page: &str, output: Option<&Path>) -> Result<PathBuf> {
    if let Some(output) = output {
        let path = app.cwd.join(output);
        ReportFile::open(&path)?.write_text(page)?;
        return Ok(path);
    }
    app.open_roots()?;
    let task = app.locate(reference)?;
    let path = app.paths.logs().join(format!("view-{}-{}.html", task.store.key(), task.slug()));
    disk::write_file(&path, page.as_bytes(), Durability::Cached)?;
    Ok(path)
}

/// Opens a page in the developer's browser; whether one could be started.
pub fn open_page(app: &App, path: &Path) -> bool {
    let own = app.env.browser.as_deref().filter(|own| !own.contains(|c: char| c.is_whitespace() || c == '%'));
    let programs = own.into_iter().flat_map(|own| own.split(':')).chain(["xdg-open"]);
    let start = |program: &str| {
        let mut command = Command::new(program);
        command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().is_ok()
    };
    let opened = programs.filter(|program| !program.is_empty()).any(start);
    if !opened {
        app.ui.status("Written", "no browser could be started: open the file yourself, or set BROWSER");
    }
    opened
}

/// The contents that people look at, the newest first, within bounds.
fn pieces(
    app: &App,
    store: Option<&dyn Store>,
    artifacts: &[Provenance],
    known: &mut dyn FnMut(&str, anyhow::Error),
) -> Vec<Piece> {
    let mut left = MOST_BYTES;
    let mut pieces = Vec::new();
    for artifact in artifacts.iter().rev() {
        let most = match artifact.artifact_type {
            ArtifactType::Logs => LONG_LOG,
            ArtifactType::TestResults => LONG_REPORT,
            ArtifactType::Screenshot => LARGE_PICTURE,
            ArtifactType::DockerImage | ArtifactType::Binary => continue,
        };
        if artifact.size > most.min(left) || pieces.len() >= MOST_FILES {
            continue;
        }
        let name = artifact.path.clone().unwrap_or_else(|| artifact.name.clone());
        match evidence::content(app, store, artifact) {
            Ok(bytes) => {
                left -= artifact.size;
                pieces.extend(piece(artifact.artifact_type, name, bytes));
            }
            Err(error) => known(&name, error),
        }
    }
    pieces
}

fn piece(kind: ArtifactType, name: String, bytes: Vec<u8>) -> Option<Piece> {
    match kind {
        ArtifactType::Screenshot => Some(Piece::Picture(name, bytes)),
        ArtifactType::TestResults => {
            let text = String::from_utf8_lossy(&bytes);
            match junit::read(&text) {
                Some(tests) => Some(Piece::Tests(name, tests)),
                None => Some(Piece::Log(name, text.into_owned())),
            }
        }
        _ => Some(Piece::Log(name, String::from_utf8_lossy(&bytes).into_owned())),
    }
}

impl View {
    fn page(&self) -> String {
        let mut page = Page::default();
        self.why(&mut page);
        self.tests(&mut page);
        self.changes(&mut page);
        self.logs(&mut page);
        self.pictures(&mut page);
        self.origin(&mut page);
        self.runs(&mut page);
        for why in &self.unknown {
            page.mark("<p class=\"bad\">").text(why).mark("</p>\n");
        }
        page.mark("<p class=\"quiet\">").text(&format!("As it was at {:.0}.", self.now)).mark("</p>\n");
        page.finish(self.shown.identity.task_id.as_str())
    }

    fn why(&self, page: &mut Page) {
        let (identity, now) = (&self.shown.identity, self.now);
        let handoff = &identity.handoff;
        page.mark("<h1>").text(identity.task_id.as_str()).mark("</h1>\n<p class=\"quiet\">");
        let by = identity.agent_identity.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        page.text(&format!("{}, published{by} {}", handoff.status, age(identity.created_at, now))).mark("</p>\n");
        if let Some(message) = &handoff.message {
            page.mark("<p class=\"message\">").text(message).mark("</p>\n");
        }
        page.mark("<table>\n");
        if let Some(command) = &handoff.command {
            let code = handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
            page.row("last command", &format!("{command}{code}"));
        }
        if let Some(outside) = &handoff.outside {
            let counts = format!("{} written, {} removed", counted(outside.files, "file", "files"), outside.removed);
            page.row("outside", &format!("{counts}, which do not travel: {}", outside.paths.join(", ")));
        }
        if let Some(holds) = &self.shown.holds {
            for kind in &holds.operations {
                page.row("unfinished", &format!("a {kind} is in progress"));
            }
            for (kind, names) in by_kind(&holds.left_behind) {
                page.row("stayed", &format!("where it was published: {kind}: {}", names.join(", ")));
            }
        }
        for other in &self.shown.beside {
            page.row("beside it", &format!("{}, {}, {}", other.reference, other.status, age(other.created_at, now)));
        }
        for claim in &self.shown.claims {
            page.row("entered", &format!("by {} on {}, {}", claim.who, claim.host, age(claim.at, now)));
        }
        page.row("step in", &format!("envctl enter {}", quote(&self.shown.task))).mark("</table>\n");
    }

    fn tests(&self, page: &mut Page) {
        for piece in &self.files {
            let Piece::Tests(name, tests) = piece else { continue };
            page.heading(&format!("Tests: {name}"));
            page.mark(if tests.failed > 0 { "<p class=\"bad\">" } else { "<p class=\"good\">" });
            page.text(&format!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped));
            page.mark("</p>\n");
            for (name, words) in &tests.failures {
                page.folded(name, &without_colours(words), tests.failed < 4);
            }
        }
    }

    fn changes(&self, page: &mut Page) {
        let Some(changes) = &self.changes else { return };
        page.heading("Changes since the remote").mark("<table>\n");
        for commit in &changes.commits_added {
            page.row(&format!("commit {:.10}", commit.commit), &commit.subject);
        }
        for file in &changes.files {
            let from = file.from.as_ref().map_or_else(String::new, |from| format!("{from} -> "));
            page.row(file.status.word(), &format!("{from}{}", file.path));
        }
        if changes.more {
            page.row("more", "commits or files that are not listed");
        }
        page.mark("</table>\n");
        if let Some(patch) = changes.patch.as_ref().filter(|patch| !patch.is_empty()) {
            page.mark("<details open><summary>Lines</summary>")
                .patch(patch.lines().take(PATCH_LINES))
                .mark("</details>\n");
        }
    }

    fn logs(&self, page: &mut Page) {
        let mut first = true;
        for piece in &self.files {
            let Piece::Log(name, text) = piece else { continue };
            if first {
                page.heading("What was printed");
            }
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            page.folded(name, &without_colours(&last), first);
            first = false;
        }
    }

    fn pictures(&self, page: &mut Page) {
        let pictures = self.files.iter().filter_map(|piece| match piece {
            Piece::Picture(name, bytes) => Some((name, bytes)),
            _ => None,
        });
        for (n, (name, bytes)) in pictures.enumerate() {
            if n == 0 {
                page.heading("Screenshots");
            }
            if !page.picture(name, bytes) {
                page.mark("<p class=\"quiet\">").text(name).mark(" is no PNG, JPEG, GIF or WebP</p>\n");
            }
        }
    }

    fn origin(&self, page: &mut Page) {
        let identity = &self.shown.identity;
        page.heading("Where it comes from").mark("<table>\n");
        page.row("identity", &self.shown.digest).row("repository", &identity.repo.url.to_string());
        page.row("branch", identity.repo.branch.as_deref().unwrap_or("(detached)"));
        page.row("commit", identity.repo.commit.as_str());
        page.row(
            "image",
            &format!(
                "{} ({}){}",
                identity.toolchain.image,
                identity.toolchain.platform,
                identity.toolchain.user_in_words()
            ),
        );
        for lockfile in &identity.lockfiles {
            page.row("lockfile", lockfile);
        }
        for artifact in &self.artifacts {
            let made = artifact.command.as_ref().map_or_else(String::new, |command| {
                let code = artifact.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
                format!(", by {command}{code}")
            });
            let size = human_bytes(artifact.size);
            let name = artifact.path.as_ref().unwrap_or(&artifact.name);
            let when = age(artifact.created_at, self.now);
            page.row(
                &artifact.artifact_type.to_string(),
                &format!("{name}, {size}, {when}{made}, {}", artifact.digest),
            );
        }
        if self.shown.artifacts_skipped > 0 {
            page.row("left out", &format!("at least {} more", self.shown.artifacts_skipped));
        }
        page.mark("</table>\n");
    }

    fn runs(&self, page: &mut Page) {
        let timed: Vec<u64> = self.runs.iter().filter_map(|run| run.usage.wall_ms).collect();
        if timed.is_empty() {
            return;
        }
        let total = human_duration(std::time::Duration::from_secs(timed.iter().sum::<u64>() / 1000));
        let cost = self.cost.map_or_else(String::new, |cost| format!(", which cost {cost:.2}"));
        page.heading("Runs on this machine").mark("<p class=\"quiet\">");
        let runs = counted(self.runs.len() as u64, "runtime", "runtimes");
        page.text(&format!("{runs}, {total} in all{cost}; a bar for each of the last"));
        page.mark("</p>\n").bars(&timed[timed.len().saturating_sub(MOST_RUNS)..]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::page::tests::{HOSTILE, assert_harmless};
    use super::super::show::Holds;
    use super::*;
    use crate::digest::Digest;

    /// A task of which every word that somebody chose is hostile.
    fn hostile() -> View {
        let digest = Digest::of(b"x");
        let identity = json!({
            "schema": 1, "task_id": "t", "created_at": "2026-01-15T10:30:00Z", "agent_identity": HOSTILE,
            "repo": { "url": "https://code.example/x", "commit": "a".repeat(40), "branch": HOSTILE },
            "toolchain": { "image": format!("r.example/i@{digest}"), "platform": "linux/amd64", "pinned": "running" },
            "workdir": "/workspace", "snapshot_id": digest.to_string(), "lockfiles": [HOSTILE], "caches": [],
            "parent": null,
            "handoff": { "status": "needs-human", "message": HOSTILE, "command": HOSTILE, "exit_code": 1,
                         "outside": { "files": 1, "removed": 0, "paths": [HOSTILE] } },
        });
        let provenance = json!({
            "schema": 1, "artifact_type": "logs", "created_at": "2026-01-15T10:30:00Z", "task_id": "t",
            "agent_identity": HOSTILE, "repo": "https://code.example/x", "commit": "a".repeat(40),
            "environment_identity": { "toolchain": identity["toolchain"], "snapshot_id": digest.to_string() },
            "name": HOSTILE, "path": HOSTILE, "size": 5, "digest": digest.to_string(), "command": HOSTILE, "exit_code": 1,
        });
        let changes = Changes {
            patch: Some(format!("+{HOSTILE}\n-{HOSTILE}\n")),
            commits_added: vec![crate::snapshot::CommitLine { commit: "a".repeat(40), subject: HOSTILE.into() }],
            ..Changes::default()
        };
        let tests = Tests { failed: 1, failures: vec![(HOSTILE.into(), HOSTILE.into())], ..Tests::default() };
        let left_behind =
            json!([{ "kind": "branch", "name": HOSTILE }, { "kind": "operation", "name": HOSTILE, "detail": HOSTILE }]);
        let holds = Holds {
            base: "a".repeat(40),
            commits: 1,
            operations: vec!["merge"],
            left_behind: serde_json::from_value(left_behind).unwrap(),
        };
        View {
            shown: Shown { holds: Some(holds), ..Shown::sample(serde_json::from_value(identity).unwrap()) },
            now: "2026-01-16T10:30:00Z".parse().unwrap(),
            changes: Some(changes),
            artifacts: vec![serde_json::from_value(provenance).unwrap()],
            files: vec![
                Piece::Log(HOSTILE.into(), HOSTILE.repeat(3)),
                Piece::Tests(HOSTILE.into(), tests),
                Piece::Picture(HOSTILE.into(), b"\x89PNG<script>".to_vec()),
                Piece::Picture(HOSTILE.into(), b"<svg onload=alert(1)>".to_vec()),
            ],
            runs: Vec::new(),
            cost: None,
            unknown: vec![HOSTILE.into()],
        }
    }

    #[test]
    fn a_hostile_task_is_a_page_of_text() {
        let page = hostile().page();
        assert_harmless(&page);
        for part in
            ["needs-human", "1 failed", "Screenshots", "What was printed", "Changes since", "step in", "unfinished"]
        {
            assert!(page.contains(part), "{part}");
        }
    }
}
