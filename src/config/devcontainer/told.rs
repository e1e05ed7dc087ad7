//! What becomes of each field, and of those that are no key of a project's file.

use serde::Serialize;
use serde_json::Value;

use crate::config::PRESETS;
use crate::error::cut;

/// What becomes of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
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
    pub fate: Fate,
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

/// What becomes of a command that makes a container ready.
pub(super) fn setup(value: &Value) -> (Fate, String) {
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
        (true, true) => (Fate::Left, "it is empty".into()),
        (false, true) => {
            (Fate::ByHand, format!("[[cache]] preset = {:?} makes the same: init proposes it", presets.join(", ")))
        }
        (false, false) => (
            Fate::ByHand,
            format!(
                "[[cache]] preset = {:?} does a part; run once in the workspace: {}",
                presets.join(", "),
                rest.join(" && ")
            ),
        ),
        _ => (
            Fate::ByHand,
            format!("not run by itself: make it the setup of a [[cache]], or run it once: {}", rest.join(" && ")),
        ),
    }
}

/// What becomes of any other field.
pub(super) fn told(field: &str) -> (Fate, &'static str) {
    use Fate::{ByHand, Left, Refused};
    match field {
        "context" => (Left, "it is part of the build"),
        "overrideFeatureInstallOrder" => (Left, "it is for `devcontainer build`"),
        "service" | "runServices" => (Refused, "compose files are not started"),
        "postStartCommand" | "postAttachCommand" => {
            (ByHand, "not run by itself: run it inside, or make it a [[service]]")
        }
        "initializeCommand" => (Refused, "it would run on this machine, and nothing of a project is"),
        "waitFor" => (Left, "no command is waited for"),
        "mounts" | "workspaceMount" => {
            (Refused, "folders of this machine are not mounted; what can be made again is a [[cache]]")
        }
        "runArgs" | "privileged" | "capAdd" | "securityOpt" => (Refused, "a runtime gives no more rights than it has"),
        "containerUser" | "remoteUser" | "updateRemoteUserUID" => {
            (Left, "commands run as the image's USER, who is you in the workspace; enter --user is another")
        }
        "init" => (Left, "every runtime has one"),
        "hostRequirements" => (Left, "this machine is not measured by it"),
        "portsAttributes" | "otherPortsAttributes" => (Left, "they are for an editor"),
        "customizations" => (Left, "they are for an editor; extensions inside are not installed"),
        "overrideCommand" | "shutdownAction" | "userEnvProbe" => (Left, "a runtime lasts as long as its command"),
        "name" | "$schema" => (Left, "it changes nothing"),
        _ => (ByHand, "envctl does not know it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_a_cache_does_are_told_from_others() {
        let setup = |text: &str| setup(&serde_json::from_str(text).unwrap());
        for text in ["\"npm ci\"", "[\"npm\", \"install\"]", "{ \"a\": \"npm ci\", \"b\": [\"yarn\", \"install\"] }"] {
            let (fate, how) = setup(text);
            assert!(fate == Fate::ByHand && how.contains("init proposes it"), "{text}: {how}");
        }
        let (fate, how) = setup("\"npm ci && npm run build\"");
        assert!(fate == Fate::ByHand && how.contains("\"npm\"") && how.ends_with("npm run build"), "{how}");
        let (fate, how) = setup("\"bash .devcontainer/setup.sh\"");
        assert!(fate == Fate::ByHand && how.ends_with("bash .devcontainer/setup.sh"), "{how}");
        assert_eq!(setup("\"\"").0, Fate::Left);
        for (_, preset) in SETUPS {
            assert!(PRESETS.iter().any(|known| known.name == preset), "{preset}");
        }
    }
}
