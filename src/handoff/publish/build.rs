//! An image that is built from the project's Dockerfile, once: it is known by all
//! that decides what it is, and found by that in the store to which it goes.
//!
//! Whoever may write to that store can say what a build comes to, as they can say
//! what a task is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::found::{FoundImage, Recipe};
use super::local_image::{in_engine, places, tagged};
use crate::credentials::Looked;
use crate::digest::Digest;
use crate::disk::scratch::Scratch;
use crate::disk::{self, find_program};
use crate::error::{Kind, details_of, failure, kind_of, not_found};
use crate::handoff::app::App;
use crate::handoff::trust::{self, Asks, Origin, Screen, Verdict};
use crate::identity::{EngineKind, Platform};
use crate::local::{BuildContext, BuildOrder, Builder};
use crate::secret::Secret;
use crate::snapshot;
use crate::store::Store;

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
    context: BuildContext,
    key: Digest,
}

impl<'a> WantedImage<'a> {
    /// Reads what the image would be built from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(app: &App, recipe: &'a Recipe) -> Result<Self> {
        let build = &recipe.build;
        let (dockerfile, context) = (build.dockerfile(), build.context());
        let progress = app.ui.progress();
        let bar = progress.bar(&format!("reading for {dockerfile}"), 0);
        let read = |count| bar.add(count);
        let context = BuildContext::read(&recipe.root, Path::new(&dockerfile), Path::new(&context), &read);
        bar.finish();
        let context = context.with_context(|| format!("cannot read what {dockerfile} is built from"))?;
        let components = Components {
            format: FORMAT,
            context: context.digest(),
            args: &build.args,
            target: &build.target,
            secrets: build.secrets.iter().map(|secret| secret.name.as_str()).collect(),
            platform: Platform::host().to_string(),
        };
        let key = Digest::of(&serde_json::to_vec(&("envctl build key", components))?);
        Ok(WantedImage { recipe, context, key })
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
                app.ui.status("Found", &format!("the image of {} in the store", self.recipe.build.dockerfile()));
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
        let scratch = Scratch::create(app.paths.cache())?;
        let (dockerfile, context) = self.copied(app, scratch.path(), screen)?;
        let tag = format!("envctl-build:{}", &self.key.hex()[..24]);
        let order = BuildOrder {
            dockerfile: &dockerfile,
            context: &context,
            args: &build.args,
            target: build.target.as_deref(),
            secrets: &secrets,
            tag: &tag,
        };
        app.ui.status("Building", &format!("{} as {tag}, with {}", build.dockerfile(), builder.kind()));
        app.ui.detail(&builder.line(&order));
        let started = Instant::now();
        self.run(app, &builder, &order)?;
        let took = started.elapsed().as_secs_f64();
        app.ui.status("Built", &format!("{} in {took:.1} s", build.dockerfile()));
        let found = in_engine(app, (builder.kind(), &tag), target, &build.dockerfile());
        let found = found.map_err(|error| match kind_of(&error) {
            Kind::NotFound => not_found(format!("{} built the image and kept it to itself", builder.kind()))
                .hint("let its builder load what it builds: docker buildx use default")
                .into(),
            _ => error,
        })?;
        Ok(FoundImage { id: Some(self.key), ..found })
    }

    fn run(&self, app: &App, builder: &Builder, order: &BuildOrder<'_>) -> Result<()> {
        let log = app.log_file("build");
        log.parent().map_or(Ok(()), disk::create_private_dir)?;
        let mut file = File::create_new(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let progress = app.ui.progress();
        let activity = progress.activity(&format!("building {}", self.recipe.build.dockerfile()));
        let built = builder.build(order, &mut file, &mut |line| activity.say(line));
        activity.finish();
        built.map_err(|error| {
            let last = details_of(&error).to_vec();
            let what = failure(format!("the image of {} was not built", self.recipe.build.dockerfile()));
            error.context(what.details(last).hint(format!("all that was said: {}", log.display())))
        })
    }

    /// The copy from which an engine builds, once nothing in it is a credential.
    fn copied(&self, app: &App, folder: &Path, screen: Option<Screen<'_>>) -> Result<(PathBuf, PathBuf)> {
        let progress = app.ui.progress();
        let bar = progress.bar("the context of the build", self.context.size());
        let mut looked = self.words(screen)?;
        let mut look = |path: &Path, content: &mut dyn Read| -> Result<()> {
            if let Some(screen) = screen {
                looked.push((path.to_owned(), screen.look_through(path, content)?));
            }
            Ok(())
        };
        let copied = self.context.copy_to(folder, &mut look, &|count| bar.add(count));
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
        let dockerfile = PathBuf::from(build.dockerfile());
        let said = PathBuf::from("toolchain.build.args");
        Ok(vec![
            (dockerfile.clone(), screen.look(&dockerfile, self.context.dockerfile())?),
            (said.clone(), screen.look(&said, args.as_bytes())?),
        ])
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
        let recipe = (build, Digest::of(self.context.dockerfile()), self.recipe.said);
        let asks = Asks::of_build(&repo, &Origin::folder(root)?, recipe)?;
        match trust::settle(app, &asks)? {
            Verdict::Agreed => {}
            other => {
                let agree = format!("envctl approve --digest {}", asks.digest());
                let agree = format!("if you agree: {agree}, or say --build");
                return Err(trust::refused(None, &asks, other).hint(agree).into());
            }
        }
        let values = trust::resolve_secrets(app, &build.secrets)?;
        Ok(values.into_iter().map(|secret| (secret.name, secret.value)).collect())
    }
}
