//! What a `devcontainer.json` asks for, in envctl's own words: which of its fields
//! become keys of a project's file, and what becomes of each of the others. Nothing is
//! passed over in silence, and nothing of it is run. Where there is no project's file,
//! it is one ([`Devcontainer::project`]).

mod told;
mod values;

use jsonc_parser::ParseOptions;
use serde_json::Value;
use toml::Table;

use self::values::{Value as Known, Values, is_variable};
use super::build::below;
use super::{Build, PortEntry, Project, SecretEntry};
use crate::error::{Fault, cut, usage};

pub use told::{Fate, Field};
pub use values::Surroundings;

/// Where the workspace is inside when the file does not say.
const WORKSPACES: &str = "/workspaces";

/// What makes an image with features.
const FEATURES: &str = "devcontainer build --workspace-folder . --image-name NAME, then --image docker-daemon:NAME (npm has it: @devcontainers/cli)";

/// What to do instead of compose.
const COMPOSE: &str = "name the image of the service that you work in with --image, and make the others a [[service]] of envctl.toml each";

/// Lists and objects within each other; a parser's stack has an end.
const MAX_DEPTH: usize = 64;

/// What a `devcontainer.json` comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devcontainer {
    /// `toolchain.image`.
    pub image: Option<String>,
    /// `toolchain.build`.
    pub build: Option<Build>,
    /// Why neither is all of the image, and what to do.
    pub lacks: Option<&'static str>,
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
    /// Reads a file; `name` is how it is called.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for what is no such file.
    pub fn parse(text: &str, name: &str, around: &Surroundings) -> Result<Self, Fault> {
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
        // Others are told by it where the workspace is.
        let early = Values { around, workdir: None, inside: false };
        let workdir = fields.get("workspaceFolder").and_then(Value::as_str).map(|text| early.of(text));
        found.workdir = match workdir {
            None if !around.name.is_empty() => Some(format!("{WORKSPACES}/{}", around.name)),
            Some(Known::Known(text)) if text.starts_with('/') => Some(text),
            _ => None,
        };
        for (field, value) in &fields {
            let (fate, how) = found.take(field, value, &fields, around);
            found.fields.push(Field { name: cut(field), fate, how });
        }
        Ok(found)
    }

    /// The project that the file describes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when a value of it is none that a project may have.
    pub fn project(&self) -> Result<Project, Fault> {
        let mut project = Project::default();
        project.toolchain.image.clone_from(&self.image);
        project.toolchain.build.clone_from(&self.build);
        project.toolchain.lacks = self.lacks;
        project.workspace.workdir.clone_from(&self.workdir);
        let text = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
        project.runtime.env = self.env.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        project.runtime.ports = self.ports.iter().map(|port| PortEntry { inside: *port, host: None }).collect();
        let secrets = self.secrets.iter().map(|name| name.parse::<SecretEntry>());
        project.runtime.secrets = secrets.collect::<Result<_, _>>()?;
        project.check("devcontainer.json")?;
        Ok(project)
    }

    /// Takes one field of `all`; what becomes of it.
    fn take(
        &mut self,
        field: &str,
        value: &Value,
        all: &serde_json::Map<String, Value>,
        around: &Surroundings,
    ) -> (Fate, String) {
        match field {
            "image" => self.image(value),
            "build" => self.build(value.as_object(), around),
            "dockerFile" | "dockerfile" if !all.contains_key("build") => {
                let mut old = serde_json::Map::new();
                old.insert("dockerfile".into(), value.clone());
                old.extend(all.get("context").map(|context| ("context".to_owned(), context.clone())));
                self.build(Some(&old), around)
            }
            "features" if value.as_object().is_some_and(serde_json::Map::is_empty) => {
                (Fate::Left, "there are none".into())
            }
            "features" => {
                self.lacks = Some(FEATURES);
                (Fate::ByHand, format!("build them in: {FEATURES}"))
            }
            "dockerComposeFile" => {
                self.lacks = Some(COMPOSE);
                (Fate::Refused, format!("compose files are not started: {COMPOSE}"))
            }
            "workspaceFolder" => match &self.workdir {
                Some(_) => (Fate::Taken, "workspace.workdir".into()),
                None => (Fate::ByHand, "it depends on the machine: set workspace.workdir".into()),
            },
            "containerEnv" | "remoteEnv" => self.environment(value, around),
            "forwardPorts" | "appPort" => self.ports(value),
            "secrets" => self.secrets(value),
            "onCreateCommand" | "updateContentCommand" | "postCreateCommand" => told::setup(value),
            _ => {
                let (fate, how) = told::told(field);
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

    fn build(&mut self, fields: Option<&serde_json::Map<String, Value>>, around: &Surroundings) -> (Fate, String) {
        let Some(fields) = fields else { return (Fate::ByHand, "it is no object".into()) };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // From the folder of the file.
        let path = |path: &str| below(format!("{}/{path}", around.folder).trim_start_matches('/'));
        let dockerfile = text("dockerfile").or(text("dockerFile")).unwrap_or("Dockerfile");
        let (Some(dockerfile), Some(context)) = (path(dockerfile), path(text("context").unwrap_or("."))) else {
            return (Fate::ByHand, "it leads out of the project: build it yourself, and name it with --image".into());
        };
        let context = if context.is_empty() { ".".to_owned() } else { context };
        let mut build = Build { dockerfile: Some(dockerfile), context: Some(context), ..Build::default() };
        build.target = text("target").map(str::to_owned);
        let values = Values { around, workdir: self.workdir.as_deref(), inside: false };
        let mut left = Vec::new();
        for (name, value) in fields.get("args").and_then(Value::as_object).into_iter().flatten() {
            match value.as_str().map(|text| values.of(text)) {
                Some(Known::Known(text)) => {
                    build.args.insert(name.clone(), text);
                }
                _ => left.push(format!("args.{}", cut(name))),
            }
        }
        left.extend(["options"].iter().filter(|name| fields.contains_key(**name)).map(|name| (*name).to_owned()));
        if let Err(why) = build.check() {
            return (Fate::ByHand, format!("{}: build it yourself, and name it with --image", why.message));
        }
        self.build = Some(build);
        match left.is_empty() {
            true => (Fate::Taken, "toolchain.build".into()),
            false => (Fate::ByHand, format!("toolchain.build, but for {}", left.join(", "))),
        }
    }

    fn environment(&mut self, value: &Value, around: &Surroundings) -> (Fate, String) {
        let workdir = self.workdir.clone();
        let values = Values { around, workdir: workdir.as_deref(), inside: true };
        let (mut hosts, mut left) = (Vec::new(), Vec::new());
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str().map(|text| values.of(text)) {
                Some(Known::Known(text)) if is_variable(name) => {
                    self.env.insert(name.clone(), text.into());
                }
                Some(Known::OfHost(variable)) => hosts.push(format!("{} ({})", cut(name), cut(&variable))),
                Some(Known::Unknown(variable)) => left.push(format!("{} ({})", cut(name), cut(&variable))),
                _ => left.push(cut(name)),
            }
        }
        if hosts.is_empty() && left.is_empty() {
            return (Fate::Taken, "runtime.env".into());
        }
        let mut how = "runtime.env".to_owned();
        if !hosts.is_empty() {
            let hosts = hosts.join(", ");
            how.push_str(&format!(", but for {hosts}: what your environment holds is one of runtime.secrets, by name"));
        }
        if !left.is_empty() {
            how.push_str(&format!(", but for {}: nobody knows it here", left.join(", ")));
        }
        (Fate::ByHand, how)
    }

    fn ports(&mut self, value: &Value) -> (Fate, String) {
        let mut left = Vec::new();
        let one = [value.clone()];
        for port in value.as_array().map_or(&one[..], Vec::as_slice) {
            let text = match port {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // Here the host's port is a free one; `localhost` is the runtime's own.
            let inside = match text.rsplit_once(':') {
                Some((host, inside)) if host == "localhost" || host.bytes().all(|c| c.is_ascii_digit()) => inside,
                Some(_) => "",
                None => &text,
            };
            match inside.parse::<u16>().ok().filter(|port| *port > 0) {
                Some(port) => self.ports.push(port),
                None => left.push(cut(&text)),
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

    fn around() -> Surroundings {
        Surroundings { name: "shop".into(), folder: ".devcontainer".into() }
    }

    fn parse(text: &str) -> Devcontainer {
        Devcontainer::parse(text, "devcontainer.json", &around()).unwrap()
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
            assert!(Devcontainer::parse(bad, "x", &around()).is_err(), "{:?}", cut(bad));
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
        assert!(found.fields.iter().any(|field| field.how.contains("TOKEN (TOKEN)") && field.how.contains("ENVCTL_X")));
        assert_eq!(fate(&found, "postCreateCommand"), Fate::ByHand);
        let project = found.project().unwrap();
        assert_eq!((project.runtime.ports.len(), project.runtime.secrets.len()), (1, 1));
        assert!(project.toolchain.lacks.is_some_and(|what| what.contains("devcontainer build")));
    }

    #[test]
    fn a_build_is_named_from_the_folder_of_the_file() {
        let build = |text: &str| {
            let found = parse(text);
            found
                .build
                .clone()
                .map(|build| (build.dockerfile(), build.context(), build.args.len()))
                .ok_or(Box::new(found))
        };
        assert_eq!(
            build(
                r#"{ "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "A": "${localEnv:A:1}" } } }"#
            ),
            Ok((".devcontainer/Dockerfile".into(), String::new(), 1))
        );
        assert_eq!(
            build(r#"{ "dockerFile": "../docker/x", "context": "../docker" }"#),
            Ok(("docker/x".into(), "docker".into(), 0))
        );
        assert_eq!(
            build(r#"{ "build": { "dockerfile": "D" } }"#),
            Ok((".devcontainer/D".into(), ".devcontainer".into(), 0))
        );
        let found =
            parse(r#"{ "build": { "dockerfile": "D", "args": { "A": "${localEnv:A}" }, "options": ["--x"] } }"#);
        assert!(found.build.is_some() && found.fields[0].how.ends_with("but for args.A, options"), "{found:?}");
        for bad in
            [r#"{ "build": { "dockerfile": "../../D" } }"#, r#"{ "build": { "target": "--x" } }"#, r#"{ "build": 1 }"#]
        {
            let found = build(bad).unwrap_err();
            assert_eq!(fate(&found, "build"), Fate::ByHand, "{bad}");
        }
    }

    #[test]
    fn variables_lead_to_the_workspace_and_its_ports_to_free_ones() {
        let found = parse(
            r#"{ "remoteEnv": { "PATH": "${containerWorkspaceFolder}/bin:${containerEnv:PATH}" },
                 "forwardPorts": ["localhost:80", "db:5432"], "appPort": ["8000:3000", 9000], "dockerComposeFile": "x" }"#,
        );
        assert_eq!(found.env["PATH"].as_str(), Some("/workspaces/shop/bin:${PATH}"));
        assert_eq!(found.ports, [80, 3000, 9000]);
        assert_eq!((fate(&found, "forwardPorts"), fate(&found, "appPort")), (Fate::ByHand, Fate::Taken));
        assert!(fate(&found, "dockerComposeFile") == Fate::Refused && found.lacks.is_some());
    }
}
