//! Whether this machine can do what envctl does, and what helps where it cannot.

use std::os::fd::AsFd;
use std::path::Path;

use serde::Serialize;

use crate::config::{Field, FieldFate, PROJECT_FILES, Requirements};
use crate::disk;
use crate::error::{Kind, hint_of, kind_of};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::devcontainer;
use crate::runtime;
use crate::store::Access;
use crate::ui::human_bytes;

/// The oldest kernel that has what a runtime needs.
const KERNEL: (u32, u32) = (5, 15);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It is as it should be.
    Ok,
    /// Something works less well, or not at all, and the rest does.
    Weak,
    /// Tasks cannot be entered.
    Bad,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What helps.
    pub hint: Option<String>,
}

/// Looks at everything; changes nothing that stays. `wrong` is what is wrong with the
/// user's configuration.
pub fn doctor(app: &App, wrong: Option<anyhow::Error>) -> Vec<Check> {
    let path = app.env.path.as_deref();
    let mut all = vec![kernel()];
    let mut check = |name, bad, outcome: anyhow::Result<String>| {
        let (health, found, hint) = match outcome {
            Ok(found) => (Health::Ok, found, None),
            Err(error) => (bad, format!("{error:#}"), hint_of(&error)),
        };
        all.push(Check { name, health, found, hint });
    };
    check("user namespaces", Health::Bad, runtime::user_namespace(path).map(|()| "can be made".into()));
    let ids = match runtime::has_subordinate_ids(path) {
        true => Ok("images with several users work".into()),
        false => Err(crate::error::failure("no subordinate ids: every file of an image belongs to you")
            .hint("install newuidmap and newgidmap (Debian: uidmap), and give this account a range in /etc/subuid and /etc/subgid")
            .into()),
    };
    check("subordinate ids", Health::Weak, ids);
    check("git", Health::Bad, Git::find(&app.env).map(|_| "is on the PATH".into()).map_err(Into::into));
    check(
        "private network",
        Health::Weak,
        runtime::private_network(path).map(|()| "pasta is here".into()).map_err(Into::into),
    );
    let cgroup = match runtime::delegates_cgroup() {
        true => Ok("limits are kept by the kernel".into()),
        false => Err(crate::error::failure("no cgroup is delegated: memory is watched, not limited")
            .hint("where systemd runs: systemd-run --user --scope envctl ...; see envctl help unprivileged")
            .into()),
    };
    check("cgroup", Health::Weak, cgroup);
    if let Some(wrong) = wrong {
        check("configuration", Health::Bad, Err(wrong));
    }
    check("folders", Health::Bad, folders(app));
    check("cache disk", Health::Weak, space(app));
    if let Some(row) = crate::handoff::workspaces::salvages(app).unwrap_or_default().first() {
        let task = row.task.as_deref().unwrap_or("an unknown task");
        check("salvage", Health::Weak, Ok(format!("a workspace of {task} was {}", row.offer(app))));
    }
    if let Some(root) = app.checkout() {
        described(&root, &mut check);
    }
    match app.configured_store() {
        Ok(None) => check("store", Health::Weak, Ok("none is configured; name one with each command".into())),
        Ok(Some(store)) => {
            let asked = app.open(&store, Access::Read).and_then(|opened| opened.resolve("doctor"));
            check("store", Health::Weak, asked.map(|_| format!("{store} answers")));
        }
        Err(error) => check("store", Health::Bad, Err(error)),
    }
    all
}

/// What becomes of each field of the checkout's `devcontainer.json`.
fn described(root: &Path, check: &mut impl FnMut(&'static str, Health, anyhow::Result<String>)) {
    const NAME: &str = "devcontainer";
    let found = match devcontainer::read(root) {
        Err(error) if kind_of(&error) == Kind::NotFound => return,
        found => found.and_then(|(place, found)| found.project().map(|_| (place, found)).map_err(Into::into)),
    };
    if let Some(own) = PROJECT_FILES.iter().find(|name| root.join(name).exists()) {
        return check(NAME, Health::Weak, Ok(format!("is not read: there is {own}")));
    }
    let (place, found) = match found {
        Ok(found) => found,
        Err(error) => return check(NAME, Health::Weak, Err(error)),
    };
    check(NAME, Health::Weak, Ok(format!("{} stands for an envctl.toml", place.display())));
    if let Some(row) = spare(&found.requires, root) {
        check(NAME, Health::Weak, row);
    }
    for Field { name, fate, how } in found.fields {
        let row = format!("{name}: {how}");
        let row = if matches!(fate, FieldFate::Taken | FieldFate::Left) { Ok(row) } else { Err(anyhow::anyhow!(row)) };
        check(NAME, Health::Weak, row);
    }
}

/// Whether this machine has what `hostRequirements` want; `None` when they want nothing.
fn spare(wanted: &Requirements, folder: &Path) -> Option<anyhow::Result<String>> {
    if *wanted == Requirements::default() {
        return None;
    }
    let here = Requirements {
        processors: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
        memory: runtime::memory_here(),
        storage: disk::free_space(folder).ok().map(|(free, _)| free),
    };
    let lacks = wanted.lacking(&here);
    Some(match lacks.is_empty() {
        true => Ok("hostRequirements: this machine has them".into()),
        false => Err(anyhow::anyhow!("hostRequirements: this machine has {}", lacks.join(", "))),
    })
}

fn kernel() -> Check {
    let release = runtime::kernel();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let health = if version >= KERNEL { Health::Ok } else { Health::Bad };
    let hint = (health == Health::Bad).then(|| "envctl needs Linux 5.15 or newer".to_owned());
    Check { name: "kernel", health, found: release, hint }
}

/// Each root can be written, and its file system has locks and attributes.
fn folders(app: &App) -> anyhow::Result<String> {
    app.open_roots()?;
    for root in [app.paths.data(), app.paths.cache(), app.paths.state()] {
        let scratch = disk::scratch::Scratch::create(root)?;
        let folder = std::fs::File::open(scratch.path())?;
        if root == app.paths.cache() {
            let set = rustix::fs::fsetxattr(folder.as_fd(), "user.envctl", b"x", rustix::fs::XattrFlags::empty());
            set.map_err(|error| {
                crate::error::failure(format!("{} has no extended attributes ({error})", root.display()))
                    .hint("point XDG_CACHE_HOME at another file system")
            })?;
        }
    }
    Ok("can be written, locked, and have attributes".into())
}

fn space(app: &App) -> anyhow::Result<String> {
    let (free, inodes) = disk::free_space(app.paths.cache())?;
    let (_, least) = app.user.cache_sizes();
    let found = format!("{} free, {inodes} inodes", human_bytes(free));
    if free < least || inodes < 100_000 {
        return Err(crate::error::failure(found)
            .hint("envctl cache prune --all, or point XDG_CACHE_HOME at a larger disk")
            .into());
    }
    Ok(found)
}
