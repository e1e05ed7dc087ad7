//! An image that is built from the project's Dockerfile, once: it is known by all
//! that decides what it is, and found by that in the store to which it goes.
//!
//! Whoever may write to that store can say what a build comes to, as they can say
//! what a task is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::features::FeatureSources;
use super::found::{FoundImage, Recipe};
use super::local::{in_engine, places, tagged};
use crate::config::Build;
use crate::credentials::Looked;
use crate::digest::Digest;
use crate::disk::scratch::Scratch;
use crate::disk::{self, find_program};
use crate::error::{Kind, details_of, failure, kind_of, not_found, policy};
use crate::handoff::app::App;
use crate::handoff::trust::{self, Asks, Screen, Verdict};
use crate::identity::{EngineKind, Platform};
use crate::local::{BuildContext, BuildOrder, Builder, Counted, FeatureOrder, FileSeen, Said, local_base};
use crate::secret::Secret;
use crate::snapshot;
use crate::store::Store;
use crate::ui::{counted, human_bytes};

/// Version of what decides what an image is.
const FORMAT: u32 = 1;

/// Everything that decides what a build comes to.
#[derive(Serialize)]
struct Components<'a> {
    format: u32,
    /// The Dockerfile, and all that it can copy.
    context: Digest,
    args: &'a BTreeMap<String, String>,
    target: &'a Option<String>,
    /// By name.
    secrets: Vec<&'a str>,
    platform: String,
}

/// An image that is wanted, and what it is known by.
pub(super) struct WantedImage<'a> {
    recipe: &'a Recipe,
    sources: Sources,
    key: Digest,
}

/// What it is built from.
enum Sources {
    Dockerfile(Box<BuildContext>),
    Features(Box<FeatureSources>),
}

/// A copy of it.
enum BuildCopy {
    Dockerfile { dockerfile: PathBuf, context: PathBuf },
    Features { project: PathBuf, config: PathBuf },
}

impl Sources {
    fn digest(&self) -> Digest {
        match self {
            Sources::Dockerfile(context) => context.digest(),
            Sources::Features(features) => features.digest(),
        }
    }

    fn contexts(&self) -> &[BuildContext] {
        match self {
            Sources::Dockerfile(context) => std::slice::from_ref(&**context),
            Sources::Features(features) => features.contexts(),
        }
    }

    /// What whoever agrees to the build agrees to.
    fn said(&self) -> Digest {
        match self {
            Sources::Dockerfile(context) => Digest::of(context.dockerfile()),
            Sources::Features(features) => Digest::of(&features.said()),
        }
    }

    /// The folders that an engine is given, below the root; empty for all of it.
    fn folders(&self, build: &Build) -> Vec<String> {
        match self {
            Sources::Dockerfile(_) => vec![build.context()],
            Sources::Features(features) => features.folders(),
        }
    }

    fn size(&self) -> u64 {
        self.contexts().iter().map(BuildContext::size).sum()
    }

    fn copy_to(&self, folder: &Path, seen: FileSeen<'_>, counted: Counted<'_>) -> Result<BuildCopy> {
        Ok(match self {
            Sources::Dockerfile(context) => {
                let (dockerfile, context) = context.copy_to(folder, seen, counted)?;
                BuildCopy::Dockerfile { dockerfile, context }
            }
            Sources::Features(features) => {
                let (project, config) = features.copy_to(folder, seen, counted)?;
                BuildCopy::Features { project, config }
            }
        })
    }
}

impl<'a> WantedImage<'a> {
    /// Reads what the image would be built from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(app: &App, recipe: &'a Recipe) -> Result<Self> {
        let (build, shown) = (&recipe.build, recipe.build.shown());
        let progress = app.ui.progress();
        let bar = progress.bar(&format!("reading for {shown}"), 0);
        let read = |count| bar.add(count);
        let sources = match &build.devcontainer {
            Some(_) => {
                FeatureSources::read(&recipe.root, &shown, &read).map(|features| Sources::Features(Box::new(features)))
            }
            None => BuildContext::read(&recipe.root, Path::new(&shown), Path::new(&build.context()), &read)
                .map(|context| Sources::Dockerfile(Box::new(context))),
        };
        bar.finish();
        let sources = sources.with_context(|| format!("cannot read what {shown} is built from"))?;
        let components = Components {
            format: FORMAT,
            context: sources.digest(),
            args: &build.args,
            target: &build.target,
            secrets: build.secrets.iter().map(|secret| secret.name.as_str()).collect(),
            platform: Platform::host().to_string(),
        };
        let key = Digest::of(&serde_json::to_vec(&("envctl build key", components))?);
        Ok(WantedImage { recipe, sources, key })
    }

    /// What a store has of it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) fn held(&self, store: &dyn Store) -> Result<Option<FoundImage>> {
        tagged(store, &self.key)
    }

    /// The image: that of the store, or a new one.
    ///
    /// # Errors
    /// As [`WantedImage::build`].
    pub(super) fn found(&self, app: &App, target: &dyn Store, screen: Option<Screen<'_>>) -> Result<FoundImage> {
        match self.held(target)? {
            Some(found) => {
                app.ui.status("Found", &format!("the image of {} in the store", self.recipe.build.shown()));
                Ok(found)
            }
            None => self.build(app, target, screen),
        }
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`Kind::Policy`] when a file that it could copy holds a credential, or a secret
    /// is not approved; when no engine is here, or it fails.
    pub(super) fn build(&self, app: &App, target: &dyn Store, screen: Option<Screen<'_>>) -> Result<FoundImage> {
        let build = &self.recipe.build;
        app.open_roots()?;
        let secrets = self.secrets(app)?;
        let path = app.env.path.as_deref();
        let docker = (find_program(path, "docker"), &places(app, EngineKind::Docker));
        let builder = Builder::find(docker, &places(app, EngineKind::Podman))?;
        if builder.kind() == EngineKind::Podman {
            self.require_bases_of_registries()?;
        }
        let program = self.program(app)?;
        self.weigh(app)?;
        let scratch = Scratch::create(app.paths.cache())?;
        let copied = self.copied(app, scratch.path(), screen)?;
        let (tag, time) = (format!("envctl-build:{}", &self.key.hex()[..24]), app.user.build.timeout());
        app.ui.status("Building", &format!("{} as {tag}, with {}", build.shown(), builder.kind()));
        let started = Instant::now();
        match &copied {
            BuildCopy::Dockerfile { dockerfile, context } => {
                let (args, target) = (&build.args, build.target.as_deref());
                let home = app.env.home.as_deref();
                let order = BuildOrder { home, dockerfile, context, args, target, secrets: &secrets, tag: &tag };
                app.ui.detail(&builder.line(&order));
                self.run(app, &mut |log, said| builder.build(&order, time, log, said))?;
            }
            BuildCopy::Features { project, config } => {
                let order = FeatureOrder { program: &program, workspace: project, config, tag: &tag };
                app.ui.detail(&builder.feature_line(&order));
                self.run(app, &mut |log, said| builder.add_features(&order, time, log, said))?;
            }
        }
        let took = started.elapsed().as_secs_f64();
        app.ui.status("Built", &format!("{} in {took:.1} s", build.shown()));
        let found = in_engine(app, (builder.kind(), &tag), target, &build.shown());
        let found = found.map_err(|error| match kind_of(&error) {
            Kind::NotFound => not_found(format!("{} built the image, but did not load it", builder.kind()))
                .hint("let its builder load what it builds: docker buildx use default")
                .into(),
            _ => error,
        })?;
        Ok(FoundImage { id: Some(self.key), ..found })
    }

    /// By its name an image of podman's may lie anywhere on this machine.
    fn require_bases_of_registries(&self) -> Result<()> {
        let (image, args) = match &self.sources {
            Sources::Dockerfile(_) => (None, &self.recipe.build.args),
            Sources::Features(features) => (features.image(), features.args(&self.recipe.build.args)),
        };
        let base = image.map(|image| format!("FROM {image}").into_bytes());
        let texts = self.sources.contexts().iter().map(BuildContext::dockerfile).chain(base.as_deref());
        match texts.into_iter().find_map(|text| local_base(text, args)) {
            None => Ok(()),
            Some(base) => {
                let shown = self.recipe.build.shown();
                Err(policy(format!("{shown} builds on {base}, which podman would take from this machine"))
                    .hint("build it yourself, and name it: --image containers-storage:NAME")
                    .into())
            }
        }
    }

    /// The program that adds features, where there are any.
    fn program(&self, app: &App) -> Result<PathBuf> {
        if matches!(self.sources, Sources::Dockerfile(_)) {
            return Ok(PathBuf::new());
        }
        find_program(app.env.path.as_deref(), "devcontainer").ok_or_else(|| {
            let by_hand = "devcontainer build --workspace-folder . --image-name NAME";
            not_found(format!("the program devcontainer, which adds the features of {}, is not installed", self.recipe.build.shown()))
                .hint(format!("npm install --global @devcontainers/cli; or build it yourself where it is: {by_hand}, then --image docker-daemon:NAME"))
                .into()
        })
    }

    /// Says what the engine is about to be given, and asks where that is much.
    fn weigh(&self, app: &App) -> Result<()> {
        let (size, most) = (self.sources.size(), app.user.build.max_context());
        let files: usize = self.sources.contexts().iter().map(BuildContext::count).sum();
        let what = format!("{}, {}", counted(files as u64, "file or folder", "files and folders"), human_bytes(size));
        app.ui.detail(&format!("the engine gets {what}"));
        if size <= most {
            return Ok(());
        }
        let shown = self.recipe.build.shown();
        match app.confirm(&format!("Give the engine {what} for {shown}?"))? {
            Some(true) => Ok(()),
            _ => Err(policy(format!("the context of {shown} is large: {what}"))
                .hint(
                    "leave out what it does not need, in .dockerignore; or --yes, or build.max_context in config.toml",
                )
                .into()),
        }
    }

    fn run(&self, app: &App, work: &mut dyn FnMut(&mut dyn Write, Said<'_>) -> Result<()>) -> Result<()> {
        let log = app.log_file("build");
        log.parent().map_or(Ok(()), disk::create_private_dir)?;
        let mut file = File::create_new(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let progress = app.ui.progress();
        let activity = progress.activity(&format!("building {}", self.recipe.build.shown()));
        let built = work(&mut file, &mut |line| activity.say(line));
        activity.finish();
        built.map_err(|error| {
            let last = details_of(&error).to_vec();
            let what = failure(format!("the image of {} was not built", self.recipe.build.shown()));
            error.context(what.details(last).hint(format!("all that was said: {}", log.display())))
        })
    }

    /// The copy from which an engine builds, once nothing in it is a credential.
    fn copied(&self, app: &App, folder: &Path, screen: Option<Screen<'_>>) -> Result<BuildCopy> {
        let progress = app.ui.progress();
        let bar = progress.bar("the context of the build", self.sources.size());
        let mut looked = self.words(screen)?;
        let mut look = |path: &Path, content: &mut dyn Read| -> Result<()> {
            if let Some(screen) = screen {
                looked.push((path.to_owned(), screen.look_through(path, content)?));
            }
            Ok(())
        };
        let copied = self.sources.copy_to(folder, &mut look, &|count| bar.add(count));
        bar.finish();
        if let Some(screen) = screen {
            screen.settle_context(app, looked)?;
        }
        copied
    }

    /// Searches what an image was built from that is to travel.
    ///
    /// # Errors
    /// [`Kind::Policy`] when the image could hold a credential.
    pub(super) fn searched(&self, app: &App, screen: Option<Screen<'_>>) -> Result<()> {
        if screen.is_none() {
            return Ok(());
        }
        let scratch = Scratch::create(app.paths.cache())?;
        self.copied(app, scratch.path(), screen).map(drop)
    }

    /// The Dockerfile and the arguments: they stand in the image's history.
    fn words(&self, screen: Option<Screen<'_>>) -> Result<Vec<(PathBuf, Looked)>> {
        let Some(screen) = screen else { return Ok(Vec::new()) };
        let build = &self.recipe.build;
        let args: String = build.args.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let said = PathBuf::from("toolchain.build.args");
        let mut all = vec![(said.clone(), screen.look(&said, args.as_bytes())?)];
        if let Sources::Features(features) = &self.sources {
            let (place, config) = features.words();
            all.push((place.to_owned(), screen.look(place, config)?));
        }
        let dockerfile = PathBuf::from(build.dockerfile());
        for context in self.sources.contexts() {
            all.push((dockerfile.clone(), screen.look(&dockerfile, context.dockerfile())?));
        }
        Ok(all)
    }

    /// The values of its secrets, once the developer agrees to them, and to the build
    /// unless they asked for it: it runs what the Dockerfile says, with a network.
    fn secrets(&self, app: &App) -> Result<Vec<(String, Secret)>> {
        let build = &self.recipe.build;
        if build.secrets.is_empty() && self.recipe.said {
            return Ok(Vec::new());
        }
        let root = &self.recipe.root;
        let repo = snapshot::open(root).and_then(|repo| snapshot::remote_url(&repo));
        let repo = repo.unwrap_or_else(|_| root.display().to_string());
        let what = (self.sources.said(), self.sources.folders(build));
        let asks = Asks::of_build(&repo, &app.origin_of(root)?, (build, what, self.recipe.said))?;
        match trust::settle(app, &asks)? {
            Verdict::Agreed => {}
            other => {
                let agree = format!("envctl approve --digest {}", asks.digest());
                // What is to be copied stands at the end.
                let first = if self.recipe.said { "" } else { "say --build, or " };
                let agree = format!("{first}if you agree: {agree}");
                return Err(trust::refused(None, &asks, other).hint(agree).into());
            }
        }
        let values = trust::resolve_secrets(app, &build.secrets)?;
        Ok(values.into_iter().map(|secret| (secret.name, secret.value)).collect())
    }
}
