//! Where the image comes from: by name, from a Dockerfile, with features, or from
//! compose.

use serde_json::{Map, Value};

use super::values::{Substitutions, Value as Known};
use super::{COMPOSE, Devcontainer, FieldFate, Surroundings};
use crate::config::Build;
use crate::config::build::below;
use crate::error::cut;

/// What makes an image with features, by hand.
const FEATURES: &str = "devcontainer build --workspace-folder . --image-name NAME, then --image docker-daemon:NAME (npm has it: @devcontainers/cli)";

/// What `devcontainer build` is given: a file that says nothing but what the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Featured {
    /// The file. Its paths begin where those of the project's own do.
    pub config: String,
    /// Features that lie in the project, below its root.
    pub folders: Vec<String>,
    /// Where the versions of the others are settled, below the root; it need not be there.
    pub lock: String,
    /// What the features are added to, where it is not an image by name.
    pub build: Option<Build>,
}

impl Devcontainer {
    pub(super) fn image(&mut self, value: &Value) -> (FieldFate, String) {
        match value.as_str() {
            Some(image) if !image.contains("${") => {
                self.image = Some(image.to_owned());
                (FieldFate::Taken, "toolchain.image".into())
            }
            _ => (FieldFate::ByHand, "its name depends on the environment: name the image with --image".into()),
        }
    }

    pub(super) fn build(&mut self, fields: Option<&Map<String, Value>>, around: &Surroundings) -> (FieldFate, String) {
        let Some(fields) = fields else { return (FieldFate::ByHand, "it is no object".into()) };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // From the folder of the file.
        let path = |path: &str| below(format!("{}/{path}", around.folder).trim_start_matches('/'));
        let dockerfile = text("dockerfile").or(text("dockerFile")).unwrap_or("Dockerfile");
        let (Some(dockerfile), Some(context)) = (path(dockerfile), path(text("context").unwrap_or("."))) else {
            return (
                FieldFate::ByHand,
                "it leads out of the project: build it yourself, and name it with --image".into(),
            );
        };
        let context = if context.is_empty() { ".".to_owned() } else { context };
        let mut build = Build { dockerfile: Some(dockerfile), context: Some(context), ..Build::default() };
        build.target = text("target").map(str::to_owned);
        let values = Substitutions { around, workdir: self.workdir.as_deref(), inside: false };
        let mut left = Vec::new();
        for (name, value) in fields.get("args").and_then(Value::as_object).into_iter().flatten() {
            match value.as_str().map(|text| values.of(text)) {
                Some(Known::Known(text)) => {
                    build.args.insert(name.clone(), text);
                }
                _ => left.push(format!("args.{}", cut(name))),
            }
        }
        // Caches of another machine's builds change what a build costs, and not what it makes.
        left.extend(["options"].iter().filter(|name| fields.contains_key(**name)).map(|name| (*name).to_owned()));
        if let Err(why) = build.check() {
            return (FieldFate::ByHand, format!("{}: build it yourself, and name it with --image", why.message));
        }
        self.build = Some(build);
        match left.is_empty() {
            true => (FieldFate::Taken, "toolchain.build".into()),
            false => (FieldFate::ByHand, format!("toolchain.build, but for {}", left.join(", "))),
        }
    }

    /// What `devcontainer build` makes an image of: the image or the Dockerfile of `all`,
    /// and the features.
    pub(super) fn features(&mut self, all: &Map<String, Value>, around: &Surroundings) -> (FieldFate, String) {
        let mut by_hand = |why: &str| {
            self.lacks = Some(FEATURES);
            (FieldFate::ByHand, format!("{why}build them in: {FEATURES}"))
        };
        let mut plain = Devcontainer { workdir: self.workdir.clone(), ..Devcontainer::default() };
        for name in ["image", "build", "dockerFile", "dockerfile"].iter().filter(|name| all.contains_key(**name)) {
            plain.take(
                name,
                &all[*name],
                &Map::from_iter(all.clone().into_iter().filter(|(key, _)| key != "features")),
                around,
            );
        }
        let mut config = Map::new();
        let build = match (&plain.image, plain.build) {
            _ if all.contains_key("dockerComposeFile") => return by_hand("they go into a service of compose: "),
            (_, Some(build)) => {
                config.insert("build".into(), words_of_build(&build, around).into());
                Some(build)
            }
            (Some(image), None) => {
                config.insert("image".into(), image.as_str().into());
                None
            }
            (None, None) => return by_hand("what they are added to is not known here: "),
        };
        for name in ["features", "overrideFeatureInstallOrder", "remoteUser", "containerUser"] {
            config.extend(all.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let text = Value::Object(config).to_string();
        // The program puts in what this machine has.
        if text.contains("${") {
            return by_hand("what they are depends on the environment: ");
        }
        let local = all["features"].as_object().into_iter().flatten().map(|(name, _)| name);
        let local = local.filter(|name| name.starts_with('.') || name.starts_with('/'));
        let folders = local.map(|name| below(format!("{}/{name}", around.folder).trim_start_matches('/')));
        let Some(folders) = folders.collect::<Option<Vec<_>>>().filter(|all| all.iter().all(|path| !path.is_empty()))
        else {
            return by_hand("one of them leads out of the project: ");
        };
        let dot = if around.file.starts_with('.') { "." } else { "" };
        let beside = |name: String| {
            if around.folder.is_empty() { name } else { format!("{}/{name}", around.folder) }
        };
        self.featured =
            Some(Featured { config: text, folders, lock: beside(format!("{dot}devcontainer-lock.json")), build });
        (
            FieldFate::Taken,
            "toolchain.build: `devcontainer build` adds them, where it is installed (npm has it: @devcontainers/cli)"
                .into(),
        )
    }

    /// With features the image is what comes of them.
    pub(super) fn settle_features(&mut self, around: &Surroundings) {
        if self.featured.is_some() {
            let folder = if around.folder.is_empty() { String::new() } else { format!("{}/", around.folder) };
            self.image = None;
            self.build = Some(Build { devcontainer: Some(format!("{folder}{}", around.file)), ..Build::default() });
        }
    }

    pub(super) fn compose(&mut self, value: &Value, around: &Surroundings) -> (FieldFate, String) {
        self.lacks = Some(COMPOSE);
        let files: Vec<&str> = match value {
            Value::String(text) => vec![text],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let path = |path: &str| below(format!("{}/{path}", around.folder).trim_start_matches('/'));
        self.compose = files.into_iter().filter_map(path).collect();
        (FieldFate::Refused, format!("compose files are not started: {COMPOSE}"))
    }
}

/// What was checked of a build, and not the file's own words: two of them may differ.
/// Paths begin in the file's folder; values are known, so that nothing is taken from
/// this machine.
fn words_of_build(build: &Build, around: &Surroundings) -> Map<String, Value> {
    let up = around.folder.split('/').filter(|part| !part.is_empty()).map(|_| "../").collect::<String>();
    let path = |below: &str| match format!("{up}{below}").trim_end_matches('/') {
        "" => ".".to_owned(),
        path => path.to_owned(),
    };
    let mut said = Map::new();
    said.insert("dockerfile".into(), path(&build.dockerfile()).into());
    said.insert("context".into(), path(&build.context()).into());
    said.extend(build.target.iter().map(|target| ("target".to_owned(), target.as_str().into())));
    let args = build.args.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    said.insert("args".into(), Value::Object(args.collect()));
    said
}
