//! The steps of a publish, and what is settled before the first of them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::checkout::{carried, operations};
use super::conflict::{Course, Intent};
use super::image::{self, ChosenImage};
use super::options::{PublishOptions, Published, no_image, workdir};
use super::remembered::Remembered;
use super::services::pin_services;
use super::source::{PublishedFrom, PublishedTo};
use super::tag::{Placed, Tagged};
use crate::cache;
use crate::config::Project;
use crate::crash;
use crate::credentials::Scanner;
use crate::digest::Digest;
use crate::error::{not_found, usage};
use crate::handoff::app::App;
use crate::handoff::caches::{
    Basis, Carried, PublishedCaches, given_fixtures, identity_caches, push, require_fixtures,
};
use crate::handoff::evidence::{ArtifactRow, Attachable, Evidence, Maker, Subject, attach, collect, looked_at};
use crate::handoff::report::Beside;
use crate::handoff::task::{Pin, State};
use crate::handoff::trust::{Screen, Unsearched};
use crate::handoff::words::quote;
use crate::handoff::{fetch, trust};
use crate::identity::{Identity, Redacted, Repo, RepoUrl, SCHEMA, SUMMARY, StoreRef, Summary, TaskId, Toolchain, Wish};
use crate::oci::{Descriptor, media};
use crate::snapshot::{self, Captured, GitPath};
use crate::store::{self, Access, Store};
use crate::ui::counted;

/// What is settled before the checkout is looked at and anything is stored.
pub(super) struct PublishPlan<'a> {
    app: &'a App,
    options: &'a PublishOptions,
    from: &'a PublishedFrom,
    pub(super) project: Project,
    /// What the checkout goes on from.
    parent: Option<Identity>,
    pub(super) task: TaskId,
    /// The task that a fork leaves alone.
    forked: Option<TaskId>,
    pub(super) store_name: StoreRef,
    agent: Option<String>,
    pub(super) scanner: Scanner,
    url: RepoUrl,
}

/// An identity, and what of its caches goes into the store.
pub(super) struct ComposedIdentity {
    identity: Identity,
    basis: Basis,
    sealed: Vec<Carried>,
}

/// What lies in the store by now, and no tag points at.
pub(super) struct StoredIdentity {
    identity: Identity,
    pub(super) digest: Digest,
    bytes: Vec<u8>,
    descriptor: Descriptor,
    summary: Summary,
    artifacts: Vec<ArtifactRow>,
}

impl<'a> PublishPlan<'a> {
    pub(super) fn of(
        app: &'a App,
        options: &'a PublishOptions,
        from: &'a PublishedFrom,
        repo: &git2::Repository,
    ) -> Result<PublishPlan<'a>> {
        let project = app.project(&from.root)?;
        let parent = from.parent(app)?;
        let (task, forked) = task_of(options, parent.as_ref())?;
        let store_name = store_of(app, from.origin.as_ref())?;
        let agent = from.publisher(app, options);
        let exposed = from
            .origin
            .iter()
            .flat_map(Pin::exposed)
            .map(|path| GitPath(path.as_os_str().as_bytes().to_vec()).to_string());
        let scanner = trust::scanner(app, &project)?.with_exposed(exposed);
        trust::screen_words(&scanner, &options.handoff, agent.as_deref())?;
        let url = snapshot::remote_url(repo)?.parse()?;
        Ok(PublishPlan { app, options, from, project, parent, task, forked, store_name, agent, scanner, url })
    }

    /// How files are looked at for credentials.
    fn screen(&self) -> Screen<'_> {
        Screen { scanner: &self.scanner, redact: self.options.redact, root: &self.from.root }
    }

    /// The image that the task is to run in, by flags or by the project.
    fn chosen_image(&self) -> Result<ChosenImage> {
        let place = (self.from.root.as_path(), self.from.origin.is_some());
        Ok(image::chosen(self.app, self.options.wish(), &self.project, place)?.ok_or_else(no_image)?)
    }

    /// The same before anything is stored, where the checkout does not simply go on with
    /// the one that it was entered with.
    pub(super) fn image_of_flags(&self) -> Result<Option<ChosenImage>> {
        let asked = self.parent.is_none() || self.options.is_explicit(self.app);
        let chosen = asked.then(|| self.chosen_image()).transpose()?;
        chosen.iter().try_for_each(image::require_folder)?;
        Ok(chosen)
    }

    /// What the project's patterns name, and a run's own.
    pub(super) fn evidence(&self, own: Vec<Evidence>) -> Result<Attachable> {
        let screen = self.screen();
        let mut evidence = collected(self.app, self.options, &self.project, &self.from.root, screen)?;
        evidence.extend(looked_at(self.app, own, Screen { redact: true, ..screen })?);
        Ok(evidence)
    }

    /// The store, and whether it is yet to be made.
    pub(super) fn open_store(&self) -> Result<(Box<dyn Store>, bool)> {
        let name = &self.store_name;
        let is_new = matches!(name, StoreRef::Layout(path) if !path.join("oci-layout").exists());
        let target = self.app.open(name, Access::Write)?;
        require_fixtures(&*target, name, &self.project)?;
        Ok((target, is_new))
    }

    /// What this checkout published last as this task, and was about to; a workspace
    /// knows what it came from.
    pub(super) fn remembered(&self, repo: &git2::Repository) -> Option<Remembered> {
        let is_workspace = self.from.origin.is_some();
        (!is_workspace).then(|| Remembered::of(self.app, repo, &self.from.root, &self.reference()))
    }

    /// What the task is known to be by now.
    fn knows(&self, remembered: Option<&Remembered>, digest: Digest, bytes: &[u8]) {
        match remembered {
            Some(remembered) => remembered.note(self.app, &[digest]),
            // Who enters again sees what the task is now.
            None => {
                let _ = self.app.pins().keep(bytes);
            }
        }
    }

    pub(super) fn course(
        &self,
        target: &dyn Store,
        before: Option<&Descriptor>,
        remembered: &[Digest],
        ask: bool,
    ) -> Result<Course> {
        let intent = Intent {
            app: self.app,
            store: target,
            name: &self.store_name,
            task: &self.task,
            before,
            origin: self.from.origin.as_ref(),
            remembered,
            forked: self.forked.as_ref(),
            ask,
        };
        intent.course()
    }

    /// The image as the identity says it, in the store where it has to be.
    pub(super) fn toolchain(&self, target: &dyn Store, chosen: Option<ChosenImage>) -> Result<Toolchain> {
        let chosen = match (chosen, &self.parent) {
            // A workspace goes on with the image that it was entered with.
            (None, Some(parent)) if fetch::has_image(target, &parent.toolchain.image) => {
                return Ok(parent.toolchain.clone());
            }
            (Some(chosen), _) => chosen,
            (None, _) => self.chosen_image()?,
        };
        let wanted = (&chosen, &self.project.toolchain);
        let (toolchain, bytes) = image::pin_into(self.app, (target, &self.store_name), wanted, Some(self.screen()))?;
        if bytes > 0 {
            self.app.ui.status("Stored", &format!("the image, {}", crate::ui::human_bytes(bytes)));
        }
        Ok(toolchain)
    }

    pub(super) fn compose(
        &self,
        target: &dyn Store,
        toolchain: Toolchain,
        captured: &Captured,
        (redacted, parent): (Vec<Redacted>, Option<Digest>),
    ) -> Result<ComposedIdentity> {
        let (app, project, root, store) = (self.app, &self.project, self.from.root.as_path(), &self.store_name);
        let services =
            pin_services(app, (target, store), project, (root, self.parent.as_ref(), self.from.origin.is_some()))?;
        crash::point("publish.image");
        let workdir = workdir(self.options.workdir.as_ref(), project, self.parent.as_ref())?;
        let basis = Basis {
            image: toolchain.image.digest,
            platform: toolchain.platform.clone(),
            workdir: workdir.clone(),
            user: toolchain.user.clone(),
        };
        let sealed_in = self.from.sealed_in.as_deref().unwrap_or(root);
        let sealed_in = trust::real_path(sealed_in).ok();
        let of = PublishedCaches { root, url: &self.url, store, task: self.task.as_str(), sealed_in };
        let fixtures = given_fixtures(store, project);
        let (caches, sealed) = identity_caches(app, project, &basis, &of)?;
        let identity = Identity {
            schema: SCHEMA,
            task_id: self.task.clone(),
            created_at: app.env.document_clock().now(),
            agent_identity: self.agent.clone(),
            repo: Repo {
                url: self.url.clone(),
                commit: captured.document.head.clone(),
                branch: captured.document.branch.clone(),
                extra: Default::default(),
            },
            toolchain,
            workdir,
            snapshot_id: captured.id(),
            lockfiles: cache::lockfiles(root)?,
            caches,
            fixtures,
            parent,
            handoff: self.options.handoff.clone(),
            redacted,
            services,
            workspace: wish(project),
            extra: Default::default(),
        };
        Ok(ComposedIdentity { identity, basis, sealed })
    }

    /// Puts everything into the store, but for the task's tag.
    pub(super) fn store(
        &self,
        target: &dyn Store,
        composed: ComposedIdentity,
        captured: &Captured,
        evidence: &Attachable,
    ) -> Result<StoredIdentity> {
        let ComposedIdentity { identity, basis, sealed } = composed;
        let bytes = identity.to_bytes()?;
        trust::screen_document(&self.scanner, "the identity", &bytes)?;
        // What cannot be read back must not be published.
        Identity::parse(&bytes).context("this identity could not be read again")?;
        let pack = match (&captured.pack, &captured.document.pack) {
            (Some(path), Some(pack)) => Some((path.as_path(), pack_descriptor(pack))),
            _ => None,
        };
        let mut descriptor = store::write(target, &bytes, &captured.bytes, pack)?;
        crash::point("publish.named");
        push(self.app, target, &basis, &sealed)?;
        let digest = Digest::of(&bytes);
        // Before the tag moves: who enters then finds them.
        let subject = Subject { manifest: descriptor.clone(), digest, identity };
        let artifacts = attached(self.app, target, &subject, evidence, self.screen())?;
        let identity = subject.identity;
        let summary = Summary::of(&identity, digest, descriptor.digest);
        descriptor.annotations.insert(SUMMARY.into(), summary.to_text()?);
        Ok(StoredIdentity { identity, digest, bytes, descriptor, summary, artifacts })
    }

    /// Moves the task's tag, or lays one beside it. What the task is then, and beside
    /// what this stands.
    pub(super) fn move_tag(
        &self,
        target: &dyn Store,
        stored: &StoredIdentity,
        course: Course,
        before: Option<&Descriptor>,
        remembered: Option<&Remembered>,
    ) -> Result<(Digest, Option<Beside>)> {
        let tagged = Tagged {
            app: self.app,
            store: target,
            name: &self.store_name,
            task: &self.task,
            digest: stored.digest,
            identity: &stored.identity,
            has_evidence: !stored.artifacts.is_empty(),
        };
        let begun = Instant::now();
        let placed = tagged.place(course, before, &stored.descriptor)?;
        let took = begun.elapsed();
        crash::point("publish.moved");
        self.knows(remembered, stored.digest, &stored.bytes);
        Ok(match tagged.note(&stored.summary, &stored.descriptor, placed, took)? {
            Placed::Over => (stored.digest, None),
            Placed::Same(theirs) => {
                let digest = Digest::of(&theirs);
                self.knows(remembered, digest, &theirs);
                (digest, None)
            }
            Placed::Beside(other) => (stored.digest, Some(other)),
        })
    }

    fn reference(&self) -> String {
        format!("{}:{}", self.store_name, self.task)
    }

    /// What is told of it.
    pub(super) fn published(
        self,
        stored: StoredIdentity,
        (digest, beside): (Digest, Option<Beside>),
        captured: Captured,
        unsearched: Vec<Unsearched>,
    ) -> (PublishedTo, Published) {
        let task = self.reference();
        let reference = if beside.is_some() { format!("{}@{digest}", self.store_name) } else { task.clone() };
        let identity = stored.identity;
        let published = Published {
            enter: format!("envctl enter {}", quote(&reference)),
            task,
            beside,
            identity: digest.to_string(),
            image: identity.toolchain.image.digest.to_string(),
            snapshot: identity.snapshot_id.to_string(),
            commit: identity.repo.commit.to_string(),
            unpushed_commits: captured.unpushed,
            changed_files: captured.changed_files,
            pack_bytes: captured.document.pack.as_ref().map_or(0, |pack| pack.size),
            operations: operations(&captured).iter().map(|kind| (*kind).to_owned()).collect(),
            lfs: carried(&captured),
            redacted: identity.redacted,
            unsearched,
            artifacts: stored.artifacts,
            left_out: captured.left_out,
        };
        let state = State::of(&captured.document);
        (PublishedTo { store: self.store_name, task: self.task, identity: digest, state }, published)
    }
}

/// The task to publish, and the one that it is a fork of.
pub(super) fn task_of(options: &PublishOptions, parent: Option<&Identity>) -> Result<(TaskId, Option<TaskId>)> {
    let task = match (&options.task, parent) {
        (Some(task), _) => task.clone(),
        (None, Some(parent)) => parent.task_id.clone(),
        (None, None) => {
            return Err(usage("which task is this?")
                .hint("give it a name: envctl publish TASK; only a workspace that you entered knows its own")
                .into());
        }
    };
    Ok(match &options.fork {
        Some(fork) => (fork.clone(), Some(task)),
        None => (task, None),
    })
}

/// Finds what the project's patterns name, and looks at it.
fn collected(
    app: &App,
    options: &PublishOptions,
    project: &Project,
    root: &Path,
    screen: Screen<'_>,
) -> Result<Attachable> {
    let run = options.run.as_ref();
    let maker = Maker {
        command: options.handoff.command.clone(),
        exit_code: options.handoff.exit_code,
        agent: options.agent.clone().or_else(|| app.env.agent.clone()),
        run: run.map(|run| run.name.clone()),
        lease: run.and_then(|run| run.lease.clone()),
    };
    let found = collect(root, &project.artifacts.collect, &maker, run.and_then(|run| run.begun))?;
    for left_out in &found.left_out {
        app.ui.warn(&format!("not attached: {left_out}"));
    }
    looked_at(app, found.files, screen)
}

fn attached(
    app: &App,
    target: &dyn Store,
    subject: &Subject,
    evidence: &Attachable,
    screen: Screen<'_>,
) -> Result<Vec<ArtifactRow>> {
    let attached = attach(app, target, subject, evidence, screen)?;
    if !attached.is_empty() {
        let bytes = attached.iter().map(|attachment| attachment.content.size).sum();
        app.ui.status(
            "Attached",
            &format!("{}, {}", counted(attached.len() as u64, "artifact", "artifacts"), crate::ui::human_bytes(bytes)),
        );
    }
    Ok(attached.iter().map(ArtifactRow::of).collect())
}

pub(super) fn store_of(app: &App, origin: Option<&Pin>) -> Result<StoreRef> {
    match (app.options.store.is_some(), origin) {
        (false, Some(pin)) => {
            let store: StoreRef = pin.store.parse()?;
            match &store {
                // A share that is not mounted is no reason for a new store.
                StoreRef::Layout(path) if !path.exists() => {
                    Err(not_found(format!("the store {store} is not there any more, and the task came from it"))
                        .hint("mount it or put it back, or name another one: --store STORE")
                        .into())
                }
                _ => Ok(store),
            }
        }
        _ => app.store(),
    }
}

/// What the project wishes of the workspaces of those who enter.
fn wish(project: &Project) -> Option<Wish> {
    let workspace = &project.workspace;
    let lifetime = workspace.lifetime.map(|lifetime| lifetime.to_string());
    let wish = Wish { lifetime, ttl: workspace.ttl.clone(), extra: Default::default() };
    (wish != Wish::default()).then_some(wish)
}

fn pack_descriptor(pack: &snapshot::Pack) -> Descriptor {
    let mut descriptor = Descriptor::of(media::PACK, b"");
    descriptor.digest = pack.digest;
    descriptor.size = pack.size;
    descriptor
}
