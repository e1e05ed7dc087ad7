//! What a `devcontainer.json` asks for, in envctl's own words: which of its fields
//! become keys of a project's file, and what becomes of each of the others. Nothing is
//! passed over in silence, and nothing of it is run. Where there is no project's file,
//! it is one ([`Devcontainer::project`]). An image says the same of itself in a label
//! ([`Devcontainer::of_label`]).

mod image;
mod machine;
mod settings;
#[cfg(test)]
mod tests;
mod told;
mod values;

use std::collections::BTreeMap;

use jsonc_parser::ParseOptions;
use serde_json::{Map, Value};
use toml::Table;

use self::values::{Substitutions, Value as Known};
use super::{Build, PortEntry, Project, SecretEntry};
use crate::error::{Fault, cut, usage};

pub use image::Featured;
pub use machine::Requirements;
pub use told::{Field, FieldFate};
pub use values::Surroundings;

/// Where the workspace is inside when the file does not say.
const WORKSPACES: &str = "/workspaces";

/// What to do instead of compose.
const COMPOSE: &str = "name the image of the service that you work in with --image, and make the others a [[service]] of envctl.toml each: init --from devcontainer proposes both";

/// Lists and objects within each other; a parser's stack has an end.
const MAX_DEPTH: usize = 64;

/// Entries of an image's label; there is one for each feature.
const MAX_ENTRIES: usize = 200;

/// What a `devcontainer.json` comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devcontainer {
    /// `toolchain.image`.
    pub image: Option<String>,
    /// `toolchain.build`.
    pub build: Option<Build>,
    /// What `devcontainer build` is given, where there are features.
    pub featured: Option<Featured>,
    /// Why neither is all of the image, and what to do.
    pub lacks: Option<&'static str>,
    /// `toolchain.user`.
    pub user: Option<String>,
    /// `workspace.workdir`.
    pub workdir: Option<String>,
    /// `runtime.env`.
    pub env: Table,
    /// `runtime.ports`.
    pub ports: Vec<u16>,
    /// `runtime.secrets`.
    pub secrets: Vec<String>,
    /// `runtime.once`, by the field that says it.
    once: BTreeMap<usize, Vec<String>>,
    /// `runtime.start`.
    pub start: Vec<String>,
    /// Files of compose, below the project's root.
    pub compose: Vec<String>,
    /// The service of them that one works in.
    pub service: Option<String>,
    /// What the machine should have.
    pub requires: Requirements,
    /// `customizations.envctl`: a project's file, which counts before the other fields.
    pub own: Option<String>,
    /// Every field of the file, in its order.
    pub fields: Vec<Field>,
}

impl Devcontainer {
    /// Reads a file; `name` is how it is called.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for what is no such file.
    pub fn parse(text: &str, name: &str, around: &Surroundings) -> Result<Self, Fault> {
        let Value::Object(fields) = json(text, name)? else { return Err(usage(format!("{name} holds no object"))) };
        let mut found = Devcontainer::default();
        // Others are told by it where the workspace is.
        let early = Substitutions { around, workdir: None, inside: false };
        let workdir = fields.get("workspaceFolder").and_then(Value::as_str).map(|text| early.of(text));
        found.workdir = match workdir {
            None if !around.name.is_empty() => Some(format!("{WORKSPACES}/{}", around.name)),
            Some(Known::Known(text)) if text.starts_with('/') => Some(text),
            _ => None,
        };
        found.take_all(&fields, around);
        found.settle_features(around);
        Ok(found)
    }

    /// What an image says of itself in its label `devcontainer.metadata`, where the
    /// workspace is in `workdir`. Later entries count before earlier ones.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for what is no such text.
    pub fn of_label(text: &str, workdir: &str) -> Result<Self, Fault> {
        let name = "the image's devcontainer.metadata";
        let entries = match json(text, name)? {
            Value::Array(entries) => entries,
            one => vec![one],
        };
        if entries.len() > MAX_ENTRIES {
            return Err(usage(format!("{name} has more than {MAX_ENTRIES} entries")));
        }
        let around = Surroundings::default();
        let mut found = Devcontainer { workdir: Some(workdir.to_owned()), ..Devcontainer::default() };
        for entry in &entries {
            let Some(entry) = entry.as_object() else { return Err(usage(format!("{name} holds no objects"))) };
            // Of two entries either may say it: the later one counts.
            let before = if entry.contains_key("remoteUser") { None } else { found.user.take() };
            found.take_all(entry, &around);
            found.user = before.or(found.user);
        }
        Ok(found)
    }

    /// `runtime.once`, in the order in which the fields come.
    pub fn once(&self) -> Vec<String> {
        self.once.values().flatten().cloned().collect()
    }

    fn take_all(&mut self, fields: &Map<String, Value>, around: &Surroundings) {
        let first = self.fields.len();
        for (field, value) in fields {
            let (fate, how) = self.take(field, value, fields, around);
            self.fields.push(Field { name: cut(field), fate, how });
        }
        let taken = &mut self.fields[first..];
        if let Some(place) = told::settle_order(taken, fields) {
            self.once.retain(|known, _| *known < place);
            self.start.clear();
        }
        told::number(&mut self.fields[first..]);
    }

    /// The project that the file describes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when a value of it is none that a project may have.
    pub fn project(&self) -> Result<Project, Fault> {
        let own = self.own.as_deref().map(|text| Project::parse(text, "customizations.envctl"));
        let mut project = own.transpose()?.unwrap_or_default();
        let toolchain = &mut project.toolchain;
        if toolchain.image.is_none() && toolchain.build.is_none() {
            toolchain.image.clone_from(&self.image);
            toolchain.build.clone_from(&self.build);
            toolchain.lacks = self.lacks;
        }
        toolchain.user = toolchain.user.take().or_else(|| self.user.clone());
        toolchain.metadata.get_or_insert(true);
        let workdir = &mut project.workspace.workdir;
        *workdir = workdir.take().or_else(|| self.workdir.clone());
        let runtime = &mut project.runtime;
        for (name, value) in &self.env {
            runtime.env.entry(name.clone()).or_insert_with(|| value.as_str().unwrap_or_default().to_owned());
        }
        if runtime.once.is_empty() {
            runtime.once = self.once();
        }
        if runtime.start.is_empty() {
            runtime.start.clone_from(&self.start);
        }
        let known: Vec<u16> = runtime.ports.iter().map(|port| port.inside).collect();
        let ports = self.ports.iter().filter(|port| !known.contains(port));
        runtime.ports.extend(ports.map(|port| PortEntry { inside: *port, host: None }));
        for name in &self.secrets {
            let secret: SecretEntry = name.parse()?;
            if !runtime.secrets.iter().any(|known| known.name == secret.name) {
                runtime.secrets.push(secret);
            }
        }
        project.check("devcontainer.json")?;
        Ok(project)
    }

    /// Takes one field of `all`; what becomes of it.
    fn take(
        &mut self,
        field: &str,
        value: &Value,
        all: &Map<String, Value>,
        around: &Surroundings,
    ) -> (FieldFate, String) {
        let features = all.get("features").and_then(Value::as_object).is_some_and(|features| !features.is_empty());
        match field {
            "image" => self.image(value),
            "build" => self.build(value.as_object(), around),
            "dockerFile" | "dockerfile" if !all.contains_key("build") => {
                let mut old = Map::new();
                old.insert("dockerfile".into(), value.clone());
                old.extend(all.get("context").map(|context| ("context".to_owned(), context.clone())));
                self.build(Some(&old), around)
            }
            "features" if features => self.features(all, around),
            "features" => (FieldFate::Left, "there are none".into()),
            "dockerComposeFile" => self.compose(value, around),
            "service" => {
                self.service = value.as_str().map(str::to_owned);
                (FieldFate::Refused, "compose files are not started".into())
            }
            "workspaceFolder" => match &self.workdir {
                Some(_) => (FieldFate::Taken, "workspace.workdir".into()),
                None => (FieldFate::ByHand, "it depends on the machine: set workspace.workdir".into()),
            },
            "remoteUser" => self.user(value),
            "containerUser" if all.contains_key("remoteUser") => {
                (FieldFate::Left, "remoteUser comes before it: whoever enters is one account here".into())
            }
            "containerUser" => self.user(value),
            "containerEnv" | "remoteEnv" => self.environment(value, around),
            "forwardPorts" | "appPort" => self.ports(value),
            "secrets" => self.secrets(value),
            "mounts" => self.mounts(value, around),
            "hostRequirements" => self.requirements(value),
            "customizations" => self.customized(value),
            "onCreateCommand" | "updateContentCommand" | "postCreateCommand" => {
                let (fate, how) = told::setup(value);
                let place = told::ORDER.iter().position(|name| *name == field);
                if let (FieldFate::Taken, Some(place)) = (fate, place) {
                    self.once.insert(place, told::lines(value));
                }
                (fate, how)
            }
            "postStartCommand" => {
                self.start = told::lines(value);
                told::at_start(value)
            }
            _ => told::told(field, value),
        }
    }
}

/// A text as JSON with comments, as editors read it, and no more than that.
fn json(text: &str, name: &str) -> Result<Value, Fault> {
    if depth(text) > MAX_DEPTH {
        return Err(usage(format!("{name} is nested more than {MAX_DEPTH} levels deep")));
    }
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    jsonc_parser::parse_to_serde_value(text, &options)
        .map_err(|error| usage(format!("{name}: {}", cut(&error.to_string()))))
}

/// How deep a text is nested, at the most.
fn depth(text: &str) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            // A quote in a comment may end too late: strings end with their line.
            b'\n' => quoted = false,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}
