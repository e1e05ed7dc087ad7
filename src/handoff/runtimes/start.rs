//! Putting a runtime together from what was fetched and hydrated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::tell::soon_in_words;
use super::{lent, owners, variables};
use crate::config::{Devcontainer, NetworkName, Project};
use crate::disk::canonical;
use crate::error::{Fault, usage};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::Resolved;
use crate::handoff::trust::{Asks, Origin, Settled};
use crate::handoff::{task, trust};
use crate::identity::RepoUrl;
use crate::image::{self, Image, Pulled, User};
use crate::quantity::{parse_bytes, parse_duration};
use crate::runtime::{
    Account, Lease, Lending, Limits, Network, PortRequest, RootfsSpec, Session, Spec, Warned, hides, monotonic_after,
};
use crate::workspace;

/// How long a runtime may exist that nobody is attached to, when nobody says.
const DEFAULT_TIMEOUT: &str = "8h";

/// What the developer gives a command or a shell along, by flags.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Variables, which win over all others.
    pub env: Vec<(String, String)>,
    /// The shell to open, instead of the account's.
    pub shell: Option<String>,
}

/// What the developer wants of a runtime, by flags. It needs no approval.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// What it can reach.
    pub network: Option<Network>,
    /// Ports to publish, besides those of the project.
    pub ports: Vec<PortRequest>,
    /// When it has to end.
    pub timeout: Option<Duration>,
    /// When it has to end, because nothing is done in it.
    pub idle: Option<Duration>,
    /// Leave secrets out, whatever the project asks for.
    pub no_secrets: bool,
    /// Start no services, whatever the project asks for.
    pub no_services: bool,
    /// Give it no caches, and run no setup of one, whatever the project says.
    pub no_caches: bool,
    /// Go on without what the project asks for and nobody agreed to.
    pub without_approvals: bool,
    /// Who commands run as, instead of the image's user.
    pub user: Option<String>,
    /// What its commands are given.
    pub extras: Extras,
}

impl RuntimeOptions {
    /// A runtime that is there already cannot be changed by flags.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is not as they say.
    pub(crate) fn must_fit(&self, lease: &Lease) -> Result<(), Fault> {
        let other = |what: &str, way: String| {
            usage(format!("{} is running already, {what}", lease.task))
                .hint(format!("{way}, or make another runtime with --fresh"))
        };
        if self.network.is_some_and(|network| network != lease.network) {
            return Err(other(
                &format!("with the {} network", lease.network),
                format!("join it without --network, end it with envctl reset {}", lease.task),
            ));
        }
        if self.user.is_some() {
            return Err(other("as its own user", "join it without --user".to_owned()));
        }
        if !self.ports.is_empty() {
            return Err(other("with its ports", format!("publish more with envctl ports add {}", lease.task)));
        }
        if self.no_services && !lease.services.is_empty() {
            return Err(other("with its services", "join it without --no-services".to_owned()));
        }
        if self.no_caches && !lease.trees.is_empty() {
            return Err(other("with its caches", "join it without --no-caches".to_owned()));
        }
        if self.idle.is_some() {
            return Err(other("with an idle time of its own, or none", "join it without --idle".to_owned()));
        }
        if self.timeout.is_some() && lease.deadline.is_none() {
            return Err(other("without a deadline", "join it without --timeout".to_owned()));
        }
        if self.timeout.is_some() {
            return Err(other("with its own deadline", format!("move that with envctl extend {}", lease.task)));
        }
        Ok(())
    }
}

/// When a runtime ends that nobody is attached to: by flag, project or default.
///
/// # Errors
/// When the project's file is wrong.
pub(crate) fn deadline_of_its_own(app: &App, workspace: &Path, options: &RuntimeOptions) -> Result<u64> {
    time_of_its_own(app, workspace, options).map(monotonic_after)
}

/// How long such a runtime may exist.
///
/// # Errors
/// As [`deadline_of_its_own`].
pub(crate) fn time_of_its_own(app: &App, workspace: &Path, options: &RuntimeOptions) -> Result<Duration> {
    Ok(match (options.timeout, app.project(workspace)?.runtime.timeout) {
        (Some(timeout), _) => timeout,
        (None, Some(text)) => parse_duration(&text)?,
        (None, None) => parse_duration(DEFAULT_TIMEOUT)?,
    })
}

/// What of a project the runtime gets: all of it, where the developer agrees to what
/// it asks for; the rest, where they go on without that.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do neither.
pub(crate) fn approve(app: &App, resolved: &Resolved, project: Project, options: &RuntimeOptions) -> Result<Project> {
    let asks = asks(&resolved.identity.repo.url, &resolved.origin(), &project, options);
    // What is made of a checkout is in no store, to be looked at there.
    let task = resolved.local.is_none().then(|| resolved.task.quoted());
    if trust::consent(app, task.as_deref(), &asks, options.without_approvals)? {
        return Ok(project);
    }
    Ok(trust::without_asks(project))
}

/// What a task's runtime is put together from.
#[derive(Clone, Copy)]
pub(crate) struct RuntimeParts<'a> {
    pub(crate) resolved: &'a Resolved,
    pub(crate) image: &'a Image,
    pub(crate) pulled: &'a Pulled,
    /// The workspace.
    pub(crate) folder: &'a Path,
    pub(crate) project: &'a Project,
    pub(crate) options: &'a RuntimeOptions,
}

/// Lets programs inside commit in the developer's name, where git has come to know it
/// since the workspace was made.
fn settle_author(app: &App, folder: &Path) -> Result<()> {
    // Without git, nothing needs to know.
    let Ok(git) = Git::find(&app.env) else { return Ok(()) };
    let (git_dir, mail) = (folder.join(".git"), app.env.named("EMAIL"));
    // Scripts and agents start no process for it, each time.
    let author = if app.options.interactive { git.author(&git_dir, mail) } else { git.author_at_hand(&git_dir, mail) };
    if author.name.is_some() && author.email.is_some() {
        return workspace::name_author(folder, &author);
    }
    if app.options.interactive {
        app.ui.status(
            "Author",
            "git does not know who you are, and will not commit inside; say it on this machine, and enter again: \
             git config --global user.name NAME, and user.email",
        );
    }
    Ok(())
}

/// The specification of a task's runtime, once the developer has agreed to
/// what its project asks for ([`approve`]).
///
/// # Errors
/// When the workdir would hide something that the runtime needs, or something
/// is not approved.
pub(crate) fn spec(app: &App, parts: RuntimeParts<'_>) -> Result<Spec> {
    let RuntimeParts { resolved, image, pulled, folder, project, options } = parts;
    // One that an earlier envctl made.
    if !workspace::protect(folder)? {
        settle_author(app, folder)?;
    }
    let identity = &resolved.identity;
    let workdir = identity.workdir.as_str();
    let mirror_objects = mirror_objects(app, resolved)?;
    let secrets = if options.no_secrets { Vec::new() } else { trust::resolve_secrets(app, &project.runtime.secrets)? };
    let network = network(project, options);
    let user = account(app, pulled, options)?;
    let home = home(&user);
    let label = label(app, image, workdir, project);
    let mut env = environment(app, parts, label.as_ref(), (&user, &home))?;
    let own_ports = label.iter().flat_map(|label| label.ports.iter().copied());
    let lending = if options.no_secrets {
        Lending::default()
    } else {
        lent::lend(app, project, network, task::mirror(app, resolved).path(), &mut env)?
    };
    Ok(Spec {
        task: resolved.task.target.to_string(),
        store: resolved.task.store.to_string(),
        agent: app.env.agent.clone(),
        identity: resolved.digest.to_string(),
        rootfs: RootfsSpec {
            layers: pulled.trees.clone(),
            workspace: canonical(folder),
            workdir: workdir.to_owned(),
            mirror_objects,
            hostname: hostname(identity.task_id.as_str()),
            trees: Vec::new(),
            workspace_stays: false,
            artifacts: None,
            aliases: Vec::new(),
        },
        mapping: owners::mapping(app, &pulled.user),
        network,
        account: Account { uid: user.uid, gid: user.gid, home, shell: user.shell },
        env,
        secrets,
        lending,
        ports: ports(project, options, own_ports),
        deadline: options.timeout.map(monotonic_after),
        idle: options.idle,
        detached: false,
        log: None,
        limits: limits(app, project)?,
        services: Vec::new(),
        made: Vec::new(),
        path: app.env.path.clone(),
        list_written: false,
        setup: None,
    })
}

/// The objects of the task's mirror, which the runtime shows at the same path
/// as the machine does.
fn mirror_objects(app: &App, resolved: &Resolved) -> Result<PathBuf> {
    let workdir = resolved.identity.workdir.as_str();
    let objects = task::mirror(app, resolved).objects();
    if hides(workdir, &objects) {
        return Err(usage(format!("the task's workdir {workdir} would hide {}", objects.display()))
            .hint("publish the task with another --workdir, or set XDG_DATA_HOME to another place")
            .into());
    }
    Ok(objects)
}

/// By flag, or as the project wants it.
fn network(project: &Project, options: &RuntimeOptions) -> Network {
    options.network.unwrap_or(match project.runtime.network {
        Some(NetworkName::Host) => Network::Host,
        Some(NetworkName::Private) => Network::Private,
        _ => Network::Isolated,
    })
}

/// An image asks for no more variables in its label.
const MOST_OF_LABEL: usize = 1000;

/// Variables, from the image's, which all others win over, to the developer's.
fn environment(
    app: &App,
    parts: RuntimeParts<'_>,
    label: Option<&Devcontainer>,
    (user, home): (&User, &str),
) -> Result<Vec<(String, String)>> {
    let RuntimeParts { resolved, image, pulled, project, options, .. } = parts;
    let image_env = image.config.config.iter().flat_map(|config| config.env.iter().flatten());
    let mut env = variables::of_image(image_env);
    env.push(("HOME".into(), home.to_owned()));
    let places = [("WORKDIR", resolved.identity.workdir.as_str())];
    let of_label: BTreeMap<_, _> = label.iter().flat_map(|label| label.env.iter()).collect();
    for (name, value) in of_label.into_iter().take(MOST_OF_LABEL) {
        let one = BTreeMap::from([(name.clone(), value.as_str().unwrap_or_default().to_owned())]);
        if let Err(error) = variables::add(&mut env, &places, "the image's devcontainer.metadata", &one) {
            app.ui.detail(&error.to_string());
        }
    }
    for cache in &project.cache {
        variables::add(&mut env, &places, "the preset's variables", &cache.everywhere)?;
    }
    variables::add(&mut env, &places, "runtime.env", &project.runtime.env)?;
    let own = [
        ("HOME", Some(home.to_owned())),
        ("USER", user.name.clone()),
        ("LOGNAME", pulled.user.name.clone()),
        ("SHELL", pulled.user.shell.clone()),
        ("ENVCTL_TASK", Some(resolved.identity.task_id.to_string())),
        ("ENVCTL_IDENTITY", Some(resolved.digest.to_string())),
    ];
    env.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    env.extend(options.extras.env.iter().cloned());
    Ok(env)
}

/// What the image says of itself, where the project takes it.
fn label(app: &App, image: &Image, workdir: &str, project: &Project) -> Option<Devcontainer> {
    let text = image.config.config.as_ref()?.metadata.as_ref().filter(|_| project.toolchain.metadata == Some(true))?;
    let found = Devcontainer::of_label(text, workdir);
    if let Err(error) = &found {
        app.ui.warn(&format!("{error}: none of it counts"));
    }
    found.ok()
}

/// Who commands run as: the image's user, or the one that the developer names. Files
/// of the image belong to the same people either way, and those of the workspace to
/// the image's user.
fn account(app: &App, pulled: &Pulled, options: &RuntimeOptions) -> Result<User> {
    let Some(named) = &options.user else {
        if let Some(unknown) = &pulled.user.stands_in_for {
            app.ui.warn(&format!(
                "the image has no user {unknown:?}: commands run as root; --user NAME takes another one of the image"
            ));
        }
        return Ok(pulled.user.clone());
    };
    let user = image::resolve_user(Some(named), &pulled.trees).map_err(|error| {
        usage(format!("--user {named}: {error:#}")).hint("write a name or an id that the image has")
    })?;
    if (user.uid, user.gid) != (pulled.user.uid, pulled.user.gid) && owners::mapping(app, &pulled.user).is_single() {
        return Err(usage(format!("only the image's own user exists here, and --user {named} is another"))
            .hint("give this account a range in /etc/subuid and /etc/subgid, and install uidmap; envctl doctor shows what is missing")
            .into());
    }
    Ok(user)
}

/// What a project asks of this machine, as far as the flags do not settle it.
pub(crate) fn asks(url: &RepoUrl, origin: &Origin, project: &Project, options: &RuntimeOptions) -> Asks {
    let settled = Settled { network: options.network.is_some(), secrets: options.no_secrets, ports: false };
    Asks::of(&url.to_string(), origin, project, settled)
}

/// The project's ports, the image's and the developer's; who names a port's place on the
/// host is heard.
fn ports(project: &Project, options: &RuntimeOptions, of_image: impl Iterator<Item = u16>) -> Vec<PortRequest> {
    let asked = project.runtime.ports.iter().map(|port| PortRequest { inside: port.inside, host: port.host });
    let mut all: Vec<PortRequest> = Vec::new();
    let of_image = of_image.map(|inside| PortRequest { inside, host: None });
    for port in options.ports.iter().copied().chain(asked).chain(of_image) {
        match all.iter_mut().find(|known| known.inside == port.inside) {
            Some(known) => known.host = known.host.or(port.host),
            None => all.push(port),
        }
    }
    all
}

fn limits(app: &App, project: &Project) -> Result<Limits> {
    let wanted = &project.runtime.limits;
    let memory = wanted.memory.as_deref().map(parse_bytes).transpose()?;
    let required = wanted.required || app.user.limits.required;
    let asked = Limits { memory, processes: wanted.processes, cpus: wanted.cpus, required, ..Limits::default() };
    Ok(asked.or_share())
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

/// A command with what a session takes along from the caller's terminal, and from
/// the developer.
pub(crate) fn session(app: &App, command: &[OsString], extras: &Extras) -> Session {
    let own = [("TERM", app.env.term.clone()), ("COLORTERM", app.env.colorterm.clone())];
    let mut env: Vec<(String, String)> =
        own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    env.extend(app.env.locale.clone());
    env.extend(extras.env.iter().cloned());
    let ui = app.ui;
    let warned = Some(Warned(Arc::new(move |soon| ui.warn(&soon_in_words(soon)))));
    Session { command: command.to_vec(), env, shell: extras.shell.clone(), warned, ..Session::default() }
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
