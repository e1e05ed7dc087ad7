//! What a `devcontainer.json` asks for, in envctl's own words: which of its fields
//! become keys of a project's file, and what becomes of each of the others. Nothing is
//! passed over in silence, and nothing of it is run.

use jsonc_parser::ParseOptions;
use serde::Serialize;
use serde_json::Value;
use toml::Table;

use crate::error::{Fault, cut, usage};

/// Lists and objects within each other; a parser's stack has an end.
const MAX_DEPTH: usize = 64;

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

/// What a `devcontainer.json` comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devcontainer {
    /// `toolchain.image`.
    pub image: Option<String>,
    /// `workspace.workdir`.
    pub workdir: Option<String>,
    /// `runtime.env`.
    pub env: Table,
    /// `runtime.ports`.
    pub ports: Vec<u16>,
    /// `runtime.secrets`.
    pub secrets: Vec<String>,
    /// Every field of the file, in its order.
    pub fields: Vec<Field>,
}

impl Devcontainer {
    /// Reads a file; `name` is how it is called, `folder` the name of the checkout's.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for what is no such file.
    pub fn parse(text: &str, name: &str, folder: &str) -> Result<Self, Fault> {
        if depth(text) > MAX_DEPTH {
            return Err(usage(format!("{name} is nested more than {MAX_DEPTH} levels deep")));
        }
        // JSON with comments, as editors read it, and no more than that.
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
        let value: Value = jsonc_parser::parse_to_serde_value(text, &options)
            .map_err(|error| usage(format!("{name}: {}", cut(&error.to_string()))))?;
        let Value::Object(fields) = value else { return Err(usage(format!("{name} holds no object"))) };
        let mut found = Devcontainer::default();
        for (field, value) in &fields {
            let (fate, how) = found.take(field, value, folder);
            found.fields.push(Field { name: cut(field), fate, how });
        }
        Ok(found)
    }

    /// Takes one field; what becomes of it.
    fn take(&mut self, field: &str, value: &Value, folder: &str) -> (Fate, String) {
        match field {
            "image" => self.image(value),
            "workspaceFolder" => self.workdir(value, folder),
            "containerEnv" | "remoteEnv" => self.environment(value),
            "forwardPorts" => self.ports(value),
            "secrets" => self.secrets(value),
            _ => {
                let (fate, how) = told(field);
                (fate, how.to_owned())
            }
        }
    }

    fn image(&mut self, value: &Value) -> (Fate, String) {
        match value.as_str() {
            Some(image) if !image.contains("${") => {
                self.image = Some(image.to_owned());
                (Fate::Taken, "toolchain.image".into())
            }
            _ => (Fate::ByHand, "its name depends on the environment: name the image with --image".into()),
        }
    }

    fn workdir(&mut self, value: &Value, folder: &str) -> (Fate, String) {
        let text = value.as_str().unwrap_or_default().replace("${localWorkspaceFolderBasename}", folder);
        if !text.starts_with('/') || text.contains("${") {
            return (Fate::ByHand, "it depends on the machine: set workspace.workdir".into());
        }
        self.workdir = Some(text);
        (Fate::Taken, "workspace.workdir".into())
    }

    fn environment(&mut self, value: &Value) -> (Fate, String) {
        let mut left = Vec::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) if !text.contains("${") && is_variable(name) => {
                    self.env.insert(name.clone(), text.into());
                }
                _ => left.push(cut(name)),
            }
        }
        if left.is_empty() {
            return (Fate::Taken, "runtime.env".into());
        }
        let left = left.join(", ");
        (Fate::ByHand, format!("runtime.env, but for {left}: what the host's environment holds is a secret, by name"))
    }

    fn ports(&mut self, value: &Value) -> (Fate, String) {
        let mut left = Vec::new();
        for port in value.as_array().into_iter().flatten() {
            match port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
                Some(port) => self.ports.push(port),
                None => left.push(cut(&port.to_string())),
            }
        }
        self.ports.sort_unstable();
        self.ports.dedup();
        if left.is_empty() {
            return (Fate::Taken, "runtime.ports".into());
        }
        (Fate::ByHand, format!("runtime.ports, but for {}: other containers are services here", left.join(", ")))
    }

    fn secrets(&mut self, value: &Value) -> (Fate, String) {
        let names = value.as_object().into_iter().flatten().map(|(name, _)| name);
        self.secrets.extend(names.filter(|name| is_variable(name)).cloned());
        (Fate::Taken, "runtime.secrets, each with your approval".into())
    }
}

/// What becomes of a field that is no key here.
fn told(field: &str) -> (Fate, &'static str) {
    use Fate::{ByHand, Left, Refused};
    match field {
        "build" | "dockerFile" | "dockerfile" | "context" => {
            (ByHand, "build it: docker build -t NAME CONTEXT, then --image docker-daemon:NAME")
        }
        "features" => (
            ByHand,
            "build them in: devcontainer build --workspace-folder . --image-name NAME, then --image docker-daemon:NAME",
        ),
        "overrideFeatureInstallOrder" => (Left, "it is for `devcontainer build`"),
        "dockerComposeFile" | "service" | "runServices" => (Refused, "compose files are not started; see services"),
        "onCreateCommand" | "updateContentCommand" | "postCreateCommand" => {
            (ByHand, "not run by itself: make it the setup of a [[cache]], or run it in the workspace once")
        }
        "postStartCommand" | "postAttachCommand" => {
            (ByHand, "not run by itself: run it inside, or make it a [[service]]")
        }
        "initializeCommand" => (Refused, "nothing of a project is run on this machine"),
        "waitFor" => (Left, "no command is waited for"),
        "mounts" | "workspaceMount" => {
            (Refused, "folders of this machine are not mounted; what can be made again is a [[cache]]")
        }
        "runArgs" | "privileged" | "capAdd" | "securityOpt" | "appPort" => {
            (Refused, "a runtime gives no more rights than it has")
        }
        "containerUser" | "remoteUser" | "updateRemoteUserUID" => {
            (Left, "commands run as the image's USER, who is you in the workspace")
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

/// What a shell takes for the name of a variable, and envctl does not use itself.
fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("ENVCTL_")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Devcontainer {
        Devcontainer::parse(text, "devcontainer.json", "shop").unwrap()
    }

    fn fate(found: &Devcontainer, name: &str) -> Fate {
        found.fields.iter().find(|field| field.name == name).unwrap().fate
    }

    #[test]
    fn comments_and_trailing_commas_are_read_and_nothing_looser() {
        let found = parse("// a comment\n{ \"image\": \"python:3.12\", /* \" */\n \"forwardPorts\": [3000, 3000,], }");
        assert_eq!((found.image.as_deref(), found.ports.as_slice()), (Some("python:3.12"), &[3000][..]));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for bad in ["", "[]", "{", "{image: 'x'}", "{\"a\" 1}", &deep] {
            assert!(Devcontainer::parse(bad, "x", "y").is_err(), "{:?}", cut(bad));
        }
    }

    #[test]
    fn each_field_has_a_fate() {
        let found = parse(
            r#"{
                "name": "x", "image": "ghcr.io/acme/dev:1",
                "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}",
                "containerEnv": { "A": "1", "TOKEN": "${localEnv:TOKEN}", "ENVCTL_X": "1" },
                "remoteEnv": { "B": "2" },
                "forwardPorts": [8080, "db:5432"],
                "secrets": { "NPM_TOKEN": { "description": "x" } },
                "features": { "x": {} }, "initializeCommand": "evil", "postCreateCommand": "npm ci",
                "privileged": true, "mounts": ["source=/,target=/host,type=bind"], "somethingNew": 1
            }"#,
        );
        assert_eq!(found.workdir.as_deref(), Some("/workspaces/shop"));
        assert_eq!(found.env.keys().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!((found.ports.as_slice(), found.secrets.as_slice()), (&[8080][..], &["NPM_TOKEN".to_owned()][..]));
        assert_eq!(found.fields.len(), 13);
        for (name, expected) in [
            ("image", Fate::Taken),
            ("containerEnv", Fate::ByHand),
            ("remoteEnv", Fate::Taken),
            ("forwardPorts", Fate::ByHand),
            ("features", Fate::ByHand),
            ("initializeCommand", Fate::Refused),
            ("privileged", Fate::Refused),
            ("mounts", Fate::Refused),
            ("somethingNew", Fate::ByHand),
            ("name", Fate::Left),
        ] {
            assert_eq!(fate(&found, name), expected, "{name}");
        }
        assert!(found.fields.iter().any(|field| field.how.contains("TOKEN, ENVCTL_X")));
    }
}
