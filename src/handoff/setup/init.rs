//! A first `envctl.toml` for a project, from what lies in it.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::compose::{composed, quoted, table};
use super::proposals::{Proposal, proposals};
use crate::config::{Build, Devcontainer, Field, PROJECT_FILES, Project};
use crate::error::usage;
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::caches::require_inputs;
use crate::handoff::devcontainer;
use crate::handoff::trust;
use crate::identity::StoreRef;

/// What `init` was asked for.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// `--image`.
    pub image: Option<String>,
    /// `--from devcontainer`.
    pub from_devcontainer: bool,
    /// Print, and write nothing.
    pub dry_run: bool,
}

/// What was written, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct Initialised {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Lockfiles for which a cache was proposed.
    pub lockfiles: Vec<String>,
    /// Files for which none was, and why.
    pub left: Vec<(String, String)>,
    /// Compose files that were read.
    pub compose: Vec<String>,
    /// Services of them that are proposed.
    pub services: Vec<String>,
    /// What of them is not carried over: of which service, and why.
    pub uncarried: Vec<(String, String)>,
    /// The `devcontainer.json` that was read.
    pub devcontainer: Option<PathBuf>,
    /// What becomes of each of its fields.
    pub fields: Vec<Field>,
}

/// Proposes a project file for the checkout that holds the working directory.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when there is one, or this is no checkout.
pub fn init(app: &App, options: &InitOptions) -> Result<Initialised> {
    let root = app.checkout().ok_or_else(|| usage("this is no git checkout").hint("git init, or change the folder"))?;
    let known = PROJECT_FILES.iter().find(|name| root.join(name).exists());
    if let Some(known) = known.filter(|_| !options.dry_run) {
        return Err(usage(format!("{} is there already", root.join(known).display()))
            .hint("envctl init --dry-run prints what would be proposed; envctl help config has all keys")
            .into());
    }
    options.image.iter().try_for_each(|image| require_nameable(app, &root, image))?;
    let mut text = String::new();
    match &app.options.store {
        Some(store) => {
            let store: StoreRef = store.clone().placed(&app.cwd);
            text.push_str(&format!("store = {}\n\n", quoted(&store.to_string())));
        }
        None => text.push_str("# store = \"registry.example/acme/tasks\"   # or oci:PATH\n\n"),
    }
    let (devcontainer, mut asked) = match options.from_devcontainer {
        true => {
            let (place, asked) = devcontainer::read(&root)?;
            (Some(place), asked)
        }
        false => (None, Devcontainer::default()),
    };
    let composed = composed(&root, &asked.compose, asked.service.as_deref())?;
    if asked.image.is_none() && asked.build.is_none() {
        asked.image.clone_from(&composed.image);
        asked.build = composed.build.clone().filter(|_| devcontainer.is_some() || !root.join("Dockerfile").is_file());
    }
    asked.ports.extend(composed.ports());
    asked.ports.sort_unstable();
    asked.ports.dedup();
    let image = options.image.as_ref().or(asked.image.as_ref()).map(String::as_str);
    let has_dockerfile = devcontainer.is_none() && root.join("Dockerfile").is_file();
    text.push_str(&toolchain(image, &asked, has_dockerfile));
    text.push_str(&settings(&asked));
    text.push_str(&composed.text());
    let found = proposals(&root);
    text.push_str(&caches(&found.all));
    let path = root.join(PROJECT_FILES[0]);
    // What cannot be read back must not be written.
    let project = Project::parse(&text, PROJECT_FILES[0])?;
    require_inputs(&project, &root)?;
    if !options.dry_run {
        let file = std::fs::File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
        std::io::Write::write_all(&mut &file, text.as_bytes())?;
        if let Some(store @ StoreRef::Layout(_)) = app.options.store.clone().map(|store| store.placed(&app.cwd)) {
            // It was named by the developer, and not by the project alone.
            trust::approve_host(app, &store.to_string())?;
        }
    }
    let lockfiles = found.all.into_iter().flat_map(|proposal| proposal.files()).collect();
    let services = composed.names();
    let (compose, uncarried) = (composed.files, composed.left);
    let (left, fields) = (found.left, asked.fields);
    Ok(Initialised { path, text, lockfiles, left, compose, services, uncarried, devcontainer, fields })
}

/// A project names no file of this machine but its own: what `publish` would refuse is not
/// written.
fn require_nameable(app: &App, root: &Path, image: &str) -> Result<()> {
    let kinds = ["oci:", "oci-archive:", "docker-archive:"];
    let place = kinds.iter().find_map(|kind| image.strip_prefix(kind));
    match place.map(|place| app.cwd.join(place)) {
        Some(place) if !place.starts_with(root) || place.components().any(|part| part == Component::ParentDir) => {
            Err(usage(format!("{image} lies outside of this project, whose envctl.toml cannot name it"))
                .hint("leave it out here, and name it with ENVCTL_IMAGE, or --image of publish and run")
                .into())
        }
        _ => Ok(()),
    }
}

/// An entry for each cache that is proposed.
fn caches(proposed: &[Proposal]) -> String {
    let mut text = String::new();
    for proposal in proposed {
        let preset = proposal.preset;
        text.push_str(&format!("\n[[cache]]\npreset = {}\n", quoted(preset.name)));
        if !proposal.dir.is_empty() {
            text.push_str(&format!("dir    = {}\n", quoted(&proposal.dir)));
        }
        match proposal.besides() {
            none if none.is_empty() => text.push_str(&format!("# path {}, setup: {}\n", preset.path, preset.setup)),
            besides => text.push_str(&besides),
        }
        text.push_str("# its network is for the setup alone; each developer approves it once\n");
    }
    text
}

/// `toolchain`, as a file has it: an image by name, one that is built, or words on both.
fn toolchain(image: Option<&str>, asked: &Devcontainer, has_dockerfile: bool) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match (image, &asked.build) {
        (Some(image), _) => format!("[toolchain]\nimage = {}\n{}", quoted(image), account(asked)),
        (None, Some(build)) => format!("[toolchain]\n{}\n{}", account(asked), building(build)),
        (None, None) if has_dockerfile => {
            "[toolchain]\nbuild = { dockerfile = \"Dockerfile\" }   # docker or podman builds it once; or image = \"...\"\n"
                .to_owned()
        }
        (None, None) => {
            "# [toolchain]\n# image = \"registry.example/acme/dev:latest\"   # publish pins it to a digest\n".to_owned()
        }
    }
}

/// Who commands run as, by a `devcontainer.json`.
fn account(asked: &Devcontainer) -> String {
    let user = asked.user.as_deref().map(|user| format!("user = {}\n", quoted(user)));
    match asked.fields.is_empty() {
        true => String::new(),
        // What the file was, it is without it.
        false => format!(
            "{}metadata = true   # what the image says of its user, variables and ports\n",
            user.unwrap_or_default()
        ),
    }
}

/// `toolchain.build`, as a file has it.
fn building(build: &Build) -> String {
    if let Some(place) = &build.devcontainer {
        return format!("[toolchain.build]\ndevcontainer = {}   # for its features\n", quoted(place));
    }
    let context = build.context.as_deref().unwrap_or(".");
    let mut text =
        format!("[toolchain.build]\ndockerfile = {}\ncontext = {}\n", quoted(&build.dockerfile()), quoted(context));
    if let Some(target) = &build.target {
        text.push_str(&format!("target = {}\n", quoted(target)));
    }
    if !build.args.is_empty() {
        text.push_str(&format!("args = {}\n", table(&build.args)));
    }
    text
}

/// What a `devcontainer.json` says of workspace and runtime.
fn settings(asked: &Devcontainer) -> String {
    let mut text = String::new();
    if let Some(workdir) = &asked.workdir {
        text.push_str(&format!("\n[workspace]\nworkdir = {}\n", quoted(workdir)));
    }
    let list = |name: &str, values: Vec<toml::Value>| match values.is_empty() {
        true => String::new(),
        false => format!("{name} = {}\n", toml::Value::Array(values)),
    };
    let ports = list("ports", asked.ports.iter().map(|port| i64::from(*port).into()).collect());
    let secrets = list("secrets", asked.secrets.iter().map(|name| name.as_str().into()).collect());
    let strings = |lines: Vec<String>| lines.into_iter().map(toml::Value::from).collect();
    let (once, start) = (list("once", strings(asked.once())), list("start", strings(asked.start.clone())));
    let runtime = [ports, secrets, once, start].concat();
    if !runtime.is_empty() {
        text.push_str(&format!("\n[runtime]\n{runtime}"));
    }
    if !asked.env.is_empty() {
        text.push_str("\n[runtime.env]\n");
        asked.env.iter().for_each(|(name, value)| text.push_str(&format!("{name} = {value}\n")));
    }
    text
}
