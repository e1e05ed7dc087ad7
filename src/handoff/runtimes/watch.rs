//! What a run leaves in a workspace for git on the host to obey: looked for
//! while it lasts and after it, and named.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::cache;
use crate::handoff::app::App;
use crate::runtime::{self, DeadLook, Lease, Runtimes};
use crate::ui::Ui;
use crate::workspace::{self, AuditedRun, Planted, Since};

/// How many things are named that git on the host is kept from.
const MAX_PLANTED: usize = 50;

/// How many characters of a path are shown.
const MAX_PATH: usize = 480;

impl App {
    /// The runtimes of this user.
    pub fn runtimes(&self) -> Runtimes {
        let ui = self.ui;
        let (path, paths) = (self.env.path.clone(), self.paths.clone());
        let look = DeadLook {
            after: Arc::new(move |lease| {
                let said = audit(ui, lease, path.as_deref());
                // What a program of another runtime moved meanwhile may have been passed over.
                if Runtimes::others_in(&paths, lease) {
                    workspace::distrust(&lease.workspace);
                }
                said
            }),
            during: Arc::new(move |lease, stop| watch(ui, lease, &stop)),
            packages: Arc::new(cache::packages),
        };
        Runtimes::new(self.paths.clone(), self.env.path.clone(), look)
    }
}

/// Looks for what a run has left for git on the host to run, and names what
/// was put out of its way.
/// What belongs to other ids of the image is renamed as their root.
pub(crate) fn audit(ui: Ui, lease: &Lease, path: Option<&OsStr>) -> Vec<String> {
    if !lease.workspace.is_dir() {
        let gone = format!("{} is not there any more: it was not searched", lease.workspace.display());
        ui.warn(&gone);
        return vec![gone];
    }
    let run = run(lease);
    let mut said = Vec::new();
    let look = || workspace::audit(&lease.workspace, run);
    let looked = look().and_then(|mut found| {
        if !found.unseen.is_empty() {
            let _ = runtime::Mapping::new(0, 0, path).inside(|| look().map(drop));
            let again = look()?;
            let gone = found.unseen.into_iter().filter(|one| again.unseen.iter().all(|left| left.path != one.path));
            found.renamed.extend(gone);
            found.renamed.extend(again.renamed);
            found.changed.extend(again.changed);
            found.unseen = again.unseen;
        }
        Ok(found)
    });
    match looked {
        Ok(found) => {
            for one in found.unseen.iter().take(MAX_PLANTED) {
                let path = short(&one.path);
                said.push(format!("do not use git in {path}: it may obey what was planted there: {}", one.why));
            }
            said.extend(found.renamed.iter().take(MAX_PLANTED).map(renamed));
            said.extend(found.changed.iter().take(MAX_PLANTED).map(changed));
            let more = |all: &[Planted]| all.len().saturating_sub(MAX_PLANTED);
            let more = more(&found.renamed) + more(&found.unseen);
            if more > 0 {
                said.push(format!("the same is so of {more} more; what was renamed is called *.envctl-quarantine*"));
            }
        }
        Err(error) => {
            said.push(format!("the workspace could not be searched for planted git settings: {error:#}"));
        }
    }
    said.iter().for_each(|line| ui.warn(line));
    said
}

/// Looks for the same while a run lasts, for git that is used meanwhile.
fn watch(ui: Ui, lease: &Lease, stop: &OwnedFd) -> (Vec<String>, Vec<OwnedFd>) {
    let watched = workspace::watch(&lease.workspace, run(lease), stop.as_fd(), !lease.services.is_empty());
    let mut said = Vec::new();
    if watched.is_attack {
        let ended = lease.end().map_or_else(|error| format!("could not be ended ({error:#})"), |()| "was ended".into());
        let why = "a program inside kept on writing what git on this machine would obey";
        said.push(format!("the runtime {ended}: {why}"));
    }
    said.extend(watched.found.renamed.iter().take(MAX_PLANTED).map(renamed));
    said.extend(watched.found.changed.iter().take(MAX_PLANTED).map(changed));
    if let Some(why) = watched.incomplete {
        said.push(format!(
            "not every folder was watched for planted git settings during the run ({why}); \
             sysctl fs.inotify.max_user_watches says how many there may be"
        ));
    }
    said.iter().for_each(|line| ui.warn(line));
    (said, watched.closing)
}

fn run(lease: &Lease) -> AuditedRun<'_> {
    let since = Since { seconds: lease.begun, nanos: lease.begun_nanos };
    AuditedRun { since, kept: &lease.kept, inside: lease.workdir.as_deref() }
}

fn changed(one: &Planted) -> String {
    format!("{} in the workspace was changed inside: {}", short(&one.path), one.why)
}

fn renamed(one: &Planted) -> String {
    format!("{} was written inside and renamed, because git would obey it: {}", short(&one.path), one.why)
}

/// A path of which only the end is long.
fn short(path: &Path) -> String {
    let whole = if path.as_os_str().is_empty() { ".".into() } else { path.to_string_lossy() };
    match whole.char_indices().nth(MAX_PATH) {
        Some((end, _)) => format!("{}...", whole.get(..end).unwrap_or_default()),
        None => whole.into_owned(),
    }
}
