//! What becomes of each field, and of those that are no key of a project's file.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::PRESETS;
use crate::error::cut;
use crate::shell::quote;

/// What becomes of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldFate {
    /// It is in the project's file.
    Taken,
    /// It has no effect here, for a reason that harms nobody.
    Left,
    /// It does not work here, and something has to be done by hand.
    ByHand,
    /// It is not done here at all.
    Refused,
}

/// A field, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub fate: FieldFate,
    /// How, or why not.
    pub how: String,
}

/// Commands that do what the setup of a preset does, and the preset.
const SETUPS: [(&str, &str); 23] = [
    ("npm ci", "npm"),
    ("npm install", "npm"),
    ("npm i", "npm"),
    ("yarn", "yarn"),
    ("yarn install", "yarn"),
    ("yarn install --frozen-lockfile", "yarn"),
    ("yarn install --immutable", "yarn"),
    ("pnpm install", "pnpm"),
    ("pnpm i", "pnpm"),
    ("pnpm install --frozen-lockfile", "pnpm"),
    ("bun install", "bun"),
    ("pip install -r requirements.txt", "pip"),
    ("pip3 install -r requirements.txt", "pip"),
    ("pip install --user -r requirements.txt", "pip"),
    ("pip3 install --user -r requirements.txt", "pip"),
    ("poetry install", "poetry"),
    ("uv sync", "uv"),
    ("pipenv install", "pipenv"),
    ("bundle install", "bundler"),
    ("bundle", "bundler"),
    ("composer install", "composer"),
    ("go mod download", "go"),
    ("cargo fetch", "cargo"),
];

/// The preset that makes what a command makes.
fn preset(command: &str) -> Option<&'static str> {
    let known = SETUPS.iter().find(|(known, _)| *known == command.trim());
    known.map(|(_, preset)| *preset).filter(|name| PRESETS.iter().any(|preset| preset.name == *name))
}

/// The commands of a field, as a shell writes them.
fn commands(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split("&&").map(|part| part.trim().to_owned()).collect(),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            vec![words.join(" ")]
        }
        // They run at the same time.
        Value::Object(named) => named.values().flat_map(commands).collect(),
        _ => Vec::new(),
    }
}

/// The lines that a shell runs for a field: words are quoted, and what would run at the
/// same time runs one after the other.
pub(super) fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(words) => {
            let words: Vec<String> = words.iter().filter_map(Value::as_str).map(quote).collect();
            if words.is_empty() { Vec::new() } else { vec![words.join(" ")] }
        }
        Value::Object(named) => named.values().flat_map(lines).collect(),
        _ => Vec::new(),
    }
}

/// What becomes of a command that runs at each start.
pub(super) fn at_start(value: &Value) -> (FieldFate, String) {
    match lines(value).is_empty() {
        true => (FieldFate::Left, "it is empty".into()),
        false => (FieldFate::Taken, "runtime.start: run at each start, before your command".into()),
    }
}

/// What becomes of a command that makes a container ready.
pub(super) fn setup(value: &Value) -> (FieldFate, String) {
    let commands = commands(value);
    let mut presets: Vec<&str> = commands.iter().filter_map(|command| preset(command)).collect();
    presets.sort_unstable();
    presets.dedup();
    let rest: Vec<String> = commands
        .iter()
        .filter(|command| !command.is_empty() && preset(command).is_none())
        .map(|one| cut(one))
        .collect();
    match (presets.is_empty(), rest.is_empty()) {
        (true, true) => (FieldFate::Left, "it is empty".into()),
        (false, true) => {
            (FieldFate::ByHand, format!("[[cache]] preset = {:?} makes the same: init proposes it", presets.join(", ")))
        }
        (false, false) => (
            FieldFate::ByHand,
            format!(
                "[[cache]] preset = {:?} does a part; run once in the workspace: {}",
                presets.join(", "),
                rest.join(" && ")
            ),
        ),
        _ => (FieldFate::Taken, "runtime.once: run once in each workspace, before your first command".into()),
    }
}

/// The commands that make a container ready, in the order in which they run.
pub(super) const ORDER: [&str; 5] =
    ["onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand", "postAttachCommand"];

/// What comes after a command that is left to do by hand is left, too: it may need what
/// that makes. The place of the first one in [`ORDER`].
pub(super) fn settle_order(fields: &mut [Field], values: &Map<String, Value>) -> Option<usize> {
    let place = |field: &Field| ORDER.iter().position(|name| *name == field.name);
    let by_hand = fields.iter().filter(|field| field.fate == FieldFate::ByHand);
    let first = by_hand.filter_map(place).min().filter(|place| *place < LAST)?;
    for field in fields.iter_mut().filter(|field| field.fate == FieldFate::Taken) {
        if place(field).is_some_and(|place| place > first) {
            let all = values.get(&field.name).map(lines).unwrap_or_default();
            let all = all.iter().map(|one| cut(one)).collect::<Vec<_>>().join(" && ");
            field.fate = FieldFate::ByHand;
            field.how = format!("not run by itself, since {} before it is not: {all}", ORDER[first]);
        }
    }
    Some(first)
}

/// What comes last runs whenever somebody comes, and nothing waits for it.
const LAST: usize = 4;

/// Says of several commands that are left to do by hand which comes when.
pub(super) fn number(fields: &mut [Field]) {
    let place = |field: &Field| ORDER.iter().position(|name| *name == field.name);
    let mut all: Vec<&mut Field> =
        fields.iter_mut().filter(|field| field.fate == FieldFate::ByHand && place(field).is_some()).collect();
    all.sort_by_key(|field| place(field));
    let count = all.len();
    if count > 1 {
        for (at, field) in all.into_iter().enumerate() {
            field.how.push_str(&format!(" ({} of {count})", at + 1));
        }
    }
}

/// Rights beyond those of a runtime, by name.
fn refused(value: &Value) -> String {
    let named = match value {
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
        }
        other => vec![other.to_string()],
    };
    let named: Vec<String> = named.iter().map(|one| cut(one)).collect();
    format!("a runtime gives no more rights than it has: {}", named.join(" "))
}

/// What becomes of any other field.
pub(super) fn told(field: &str, value: &Value) -> (FieldFate, String) {
    use FieldFate::{ByHand, Left, Refused};
    let is_empty = value.as_array().is_some_and(Vec::is_empty) || value.is_null();
    let (fate, how) = match field {
        "context" => (Left, "it is part of the build"),
        "overrideFeatureInstallOrder" => (Left, "it is for `devcontainer build`"),
        "runServices" => (Refused, "compose files are not started"),
        "postAttachCommand" => {
            let all = commands(value).iter().map(|one| cut(one)).collect::<Vec<_>>().join(" && ");
            return (ByHand, format!("not run by itself: run it inside, or make it a [[service]]: {all}"));
        }
        "initializeCommand" => (Refused, "it would run on this machine, and nothing of a project is"),
        "waitFor" => (Left, "nothing runs in the background before the first command"),
        "workspaceMount" => (Left, "the workspace is a clone of its own, and is at workspaceFolder"),
        "runArgs" | "capAdd" | "securityOpt" if is_empty => (Left, "there are none"),
        "runArgs" => {
            let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            match words.clone().all(|word| word == "--init") {
                true => (Left, "every runtime has an init"),
                false => return (Refused, refused(value)),
            }
        }
        "privileged" if value.as_bool() == Some(false) => (Left, "nothing is asked for"),
        "privileged" => (Refused, "a runtime gives no more rights than it has"),
        "capAdd" | "securityOpt" => return (Refused, refused(value)),
        "entrypoint" => (Refused, "nothing of an image runs before your command; what has to is a [[service]]"),
        "updateRemoteUserUID" => (Left, "whoever commands run as is you in the workspace, whatever the numbers"),
        "init" => (Left, "every runtime has one"),
        "portsAttributes" | "otherPortsAttributes" => (Left, "they are for an editor"),
        "userEnvProbe" => (Left, "variables are the image's and runtime.env; a login shell reads its own files"),
        "overrideCommand" | "shutdownAction" => (Left, "a runtime lasts as long as its command"),
        "name" | "$schema" | "id" => (Left, "it changes nothing"),
        _ => (ByHand, "envctl does not know it"),
    };
    (fate, how.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_a_cache_does_are_told_from_others() {
        let setup = |text: &str| setup(&serde_json::from_str(text).unwrap());
        for text in ["\"npm ci\"", "[\"npm\", \"install\"]", "{ \"a\": \"npm ci\", \"b\": [\"yarn\", \"install\"] }"] {
            let (fate, how) = setup(text);
            assert!(fate == FieldFate::ByHand && how.contains("init proposes it"), "{text}: {how}");
        }
        let (fate, how) = setup("\"npm ci && npm run build\"");
        assert!(fate == FieldFate::ByHand && how.contains("\"npm\"") && how.ends_with("npm run build"), "{how}");
        let (fate, how) = setup("\"bash .devcontainer/setup.sh\"");
        assert!(fate == FieldFate::Taken && how.starts_with("runtime.once"), "{how}");
        assert_eq!(setup("\"\"").0, FieldFate::Left);
        for (_, preset) in SETUPS {
            assert!(PRESETS.iter().any(|known| known.name == preset), "{preset}");
        }
    }
}
