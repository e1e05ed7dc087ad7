//! Putting a runtime together from what was fetched and hydrated.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::context::Context;
use super::fetch;
use super::hydrate;
use super::resolve::Resolved;
use crate::error::usage;
use crate::image::{Image, Pulled, User};
use crate::runtime::{Account, Network, RootfsSpec, Session, Spec, hides};

/// Search path of an image that names none, as container engines have it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The specification of a task's runtime.
///
/// # Errors
/// When the workdir would hide something that the runtime needs.
pub(super) fn spec(
    ctx: &Context,
    resolved: &Resolved,
    image: &Image,
    pulled: &Pulled,
    workspace: &Path,
    network: Network,
) -> Result<Spec> {
    let identity = &resolved.identity;
    let workdir = identity.workdir.as_str();
    let mirror_objects = hydrate::mirror(ctx, resolved).objects();
    if hides(workdir, &mirror_objects) {
        return Err(usage(format!("the task's workdir {workdir} would hide {}", mirror_objects.display()))
            .hint("publish the task with another --workdir, or set XDG_DATA_HOME to another place")
            .into());
    }
    let project = ctx.project(workspace)?;
    let home = home(&pulled.user);
    let mut env: Vec<(String, String)> = vec![("PATH".into(), DEFAULT_PATH.into())];
    let image_env = image.config.config.iter().flat_map(|config| config.env.iter().flatten());
    let pairs = image_env.filter_map(|pair| pair.split_once('=')).filter(|(name, value)| is_variable(name, value));
    env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(project.runtime.env);
    let own = [
        ("HOME", Some(home.clone())),
        ("USER", pulled.user.name.clone()),
        ("LOGNAME", pulled.user.name.clone()),
        ("SHELL", pulled.user.shell.clone()),
        ("ENVCTL_TASK", Some(identity.task_id.to_string())),
        ("ENVCTL_IDENTITY", Some(resolved.digest.to_string())),
    ];
    env.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(Spec {
        task: resolved.task.target.to_string(),
        store: resolved.task.store.to_string(),
        identity: resolved.digest.to_string(),
        rootfs: RootfsSpec {
            layers: pulled.trees.clone(),
            workspace: canonical(workspace),
            workdir: workdir.to_owned(),
            mirror_objects,
            hostname: hostname(identity.task_id.as_str()),
        },
        mapping: fetch::mapping(ctx, &pulled.user),
        network,
        account: Account { uid: pulled.user.uid, gid: pulled.user.gid, home, shell: pulled.user.shell.clone() },
        env,
        secrets: Vec::new(),
        ports: Vec::new(),
        deadline: None,
        detached: false,
    })
}

fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains('\0') && !value.contains('\0')
}

/// A home folder that the user can write.
fn home(user: &User) -> String {
    let unusable =
        user.home == "/" || ["/nonexistent", "/proc", "/sys", "/dev"].iter().any(|bad| user.home.starts_with(bad));
    if unusable && user.uid != 0 { "/run/envctl/home".into() } else { user.home.clone() }
}

/// At most 63 characters of a host name (RFC 1123).
fn hostname(task: &str) -> String {
    let name: String = task.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    name.trim_matches('-').to_owned()
}

fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A command with what a session takes along from the caller's terminal.
pub(super) fn session(ctx: &Context, command: &[String]) -> Session {
    let own = [("TERM", ctx.env.term.clone()), ("COLORTERM", ctx.env.colorterm.clone())];
    let mut env: Vec<(String, String)> =
        own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    env.extend(ctx.env.locale.clone());
    Session { command: command.to_vec(), env }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_valid() {
        assert_eq!(hostname("task_xyz.789"), "task-xyz-789");
        assert_eq!(hostname(&"a".repeat(128)).len(), 63);
        assert_eq!(hostname("a-"), "a");
    }
}
