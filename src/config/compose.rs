//! What a compose file says of services, for the services of a first `envctl.toml`.
//! Nothing of one is started: what has an image is proposed, and what cannot be carried
//! over is named.

mod words;
mod yaml;

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::Build;
use super::build::below;
use crate::error::{Fault, cut, usage};
use crate::identity::ImageName;
use words::{filled, is_plain, text, words};

/// What compose files are called, in the order in which compose looks for them; each
/// with what it reads over it.
pub const COMPOSE_FILES: [(&str, &str); 4] = [
    ("compose.yaml", "compose.override.yaml"),
    ("compose.yml", "compose.override.yml"),
    ("docker-compose.yml", "docker-compose.override.yml"),
    ("docker-compose.yaml", "docker-compose.override.yaml"),
];

/// More services are not looked at.
const MOST: usize = 100;

/// What files say in bytes, with all that they say more than once: no project's file
/// may be larger.
const MAX_SAID: usize = 1 << 20;

/// No service has more ports to itself.
const MOST_PORTS: usize = 50;

/// Keys of a service that change nothing here: each runs on the loopback, beside the
/// command, and ends with it.
const WITHOUT_EFFECT: [&str; 12] = [
    "container_name",
    "depends_on",
    "expose",
    "hostname",
    "init",
    "labels",
    "logging",
    "networks",
    "pull_policy",
    "restart",
    "stdin_open",
    "tty",
];

/// A service that has an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposeService {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What follows the image's entrypoint.
    pub command: Vec<String>,
    /// Variables of it.
    pub env: BTreeMap<String, String>,
    /// The ports on which it listens, as far as the file says.
    pub ports: Vec<u16>,
    /// Those of them that are reached from the machine.
    pub published: Vec<u16>,
    /// When it is ready.
    pub ready: Option<String>,
    /// What of it cannot be carried over, and why.
    pub left: Vec<String>,
}

/// What compose files come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compose {
    /// Services with an image, each after those that it waits for.
    pub services: Vec<ComposeService>,
    /// Services that are built, and of what, where that lies in the project.
    pub built: Vec<(String, Option<Build>)>,
    /// Services that are neither, and what else is not carried over.
    pub left: Vec<(String, String)>,
}

impl Compose {
    /// Reads files, of which each counts before those that come earlier. `folder` is
    /// that of the first, below the root of the project.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when one is no such file.
    pub fn parse(files: &[(&str, &str)], folder: &str) -> Result<Self, Fault> {
        let mut all = Map::new();
        let mut found = Compose::default();
        for (name, text) in files {
            let value = yaml::read(text).map_err(|why| usage(format!("{name}: {}", cut(&why))))?;
            if value.get("include").is_some() {
                found.left.push(("include".into(), "files that it includes are not read".into()));
            }
            if size(&value) > MAX_SAID {
                return Err(usage(format!(
                    "{name}: with what it says more than once it is larger than {MAX_SAID} bytes"
                )));
            }
            let Some(Value::Object(services)) = value.get("services") else { continue };
            for (name, service) in services {
                merge(all.entry(name.clone()).or_insert(Value::Null), service);
            }
        }
        if all.len() > MOST {
            return Err(usage(format!("there are more than {MOST} services")));
        }
        for name in in_order(&all) {
            found.take(&name, &all[&name], folder);
        }
        Ok(found)
    }

    fn take(&mut self, name: &str, service: &Value, folder: &str) {
        let mut leave = |why: &str| self.left.push((cut(name), why.to_owned()));
        let Some(service) = service.as_object() else { return leave("it is empty") };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return leave("a name of a service has letters, digits and . _ -");
        }
        if service.contains_key("extends") {
            return leave("what it extends is not read");
        }
        if service.get("profiles").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
            return leave("it is started for a profile only");
        }
        if let Some(build) = service.get("build") {
            return self.built.push((name.to_owned(), built(build, folder)));
        }
        let image = service.get("image").and_then(text).map(|image| filled(&image));
        let image = match image {
            None => return leave("it has neither an image nor a build"),
            Some(Err(variable)) => return leave(&format!("its image depends on the environment (${{{variable}}})")),
            Some(Ok(image)) => image,
        };
        match image.parse::<ImageName>() {
            Ok(ImageName::Registry { .. }) => {}
            // To compose it is the name of a host, and here a file of whoever publishes.
            Ok(_) => return leave("its image would be one of this machine"),
            Err(_) => return leave("its image has a name that is none here"),
        }
        let mut found = ComposeService { name: name.to_owned(), image, ..ComposeService::default() };
        service.iter().for_each(|(key, value)| found.key(key, value));
        found.bound();
        if let ([port], None) = (&found.ports[..], &found.ready) {
            found.ready = Some(format!("tcp:{port}"));
        }
        self.services.push(found);
    }
}

/// Bytes of all texts, and some for each part.
fn size(value: &Value) -> usize {
    4 + match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(size).sum(),
        Value::Object(all) => all.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 0,
    }
}

impl ComposeService {
    fn key(&mut self, key: &str, value: &Value) {
        match key {
            "image" => {}
            "environment" => self.environment(value),
            "command" => match words(value) {
                Some(words) => self.command = words,
                None => self.left.push("command: write its words as a list".into()),
            },
            "ports" => self.listens(value),
            "healthcheck" => self.health(value),
            "volumes" => self.volumes(value),
            "tmpfs" => {}
            "expose" => {
                let ports = value.as_array().into_iter().flatten().filter_map(text);
                self.ports.extend(ports.filter_map(|port| port.split('/').next()?.parse::<u16>().ok()));
            }
            _ if WITHOUT_EFFECT.contains(&key) || key.starts_with("x-") => {}
            "env_file" => self.left.push("env_file: write its variables into env".into()),
            "entrypoint" => self.left.push("entrypoint: the image's own is run".into()),
            _ => self.left.push(cut(key)),
        }
    }

    /// What is said twice is said once, and nothing without end.
    fn bound(&mut self) {
        for ports in [&mut self.ports, &mut self.published] {
            ports.sort_unstable();
            ports.dedup();
            if ports.len() > MOST_PORTS {
                ports.truncate(MOST_PORTS);
                self.left.push(format!("ports: more than {MOST_PORTS}"));
            }
        }
        let mut known = HashSet::new();
        self.left.retain(|what| known.insert(what.clone()));
    }

    fn environment(&mut self, value: &Value) {
        let pairs: Vec<(String, Option<String>)> = match value {
            Value::Object(all) => all.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            Value::Array(all) => {
                let pair = |entry: String| match entry.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (entry, None),
                };
                all.iter().filter_map(text).map(pair).collect()
            }
            _ => Vec::new(),
        };
        for (name, value) in pairs {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let sound = !name.is_empty() && name.chars().all(plain) && !name.starts_with("ENVCTL_");
            match value.as_deref().map(filled) {
                // What envctl fills in begins with the same sign.
                Some(Ok(value)) if sound && !value.contains('\0') => {
                    self.env.insert(name, value.replace("${", "$${"));
                }
                _ => self.left.push(format!("environment.{}: it depends on the environment", cut(&name))),
            }
        }
    }

    fn listens(&mut self, value: &Value) {
        for port in value.as_array().into_iter().flatten() {
            let inside = match port {
                Value::Object(long) => long.get("target").and_then(text),
                short => text(short).map(|text| text.rsplit(':').next().unwrap_or_default().to_owned()),
            };
            let protocol = match port {
                Value::Object(long) => long.get("protocol").and_then(text),
                _ => inside.as_deref().and_then(|port| port.split_once('/')).map(|(_, protocol)| protocol.to_owned()),
            };
            let number = inside.as_deref().and_then(|port| port.split('/').next()?.parse::<u16>().ok());
            match number.filter(|port| *port > 0 && protocol.as_deref().is_none_or(|protocol| protocol == "tcp")) {
                Some(port) => {
                    self.ports.push(port);
                    self.published.push(port);
                }
                None => self.left.push("ports: one that is no single port of TCP".into()),
            }
        }
    }

    fn health(&mut self, value: &Value) {
        let test = value.get("test");
        let command = match test {
            Some(Value::String(command)) => Some(command.clone()),
            Some(Value::Array(all)) => {
                let words: Vec<String> = all.iter().filter_map(text).collect();
                match words.split_first() {
                    Some((kind, [command])) if kind == "CMD-SHELL" => Some(command.clone()),
                    Some((kind, words)) if kind == "CMD" && words.iter().all(|word| is_plain(word)) => {
                        Some(words.join(" "))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match command.as_deref().map(filled) {
            Some(Ok(command)) if !command.is_empty() && !command.contains('\0') => {
                self.ready = Some(format!("cmd:{command}"));
            }
            _ if value.get("disable").and_then(Value::as_str) == Some("true") => {}
            _ => self.left.push("healthcheck: say with ready when it is ready".into()),
        }
    }

    fn volumes(&mut self, value: &Value) {
        for volume in value.as_array().into_iter().flatten() {
            let is_named = match volume {
                Value::Object(long) => matches!(long.get("type").and_then(Value::as_str), Some("volume" | "tmpfs")),
                short => !text(short).unwrap_or_default().starts_with(['.', '/', '~', '$']),
            };
            // Of a volume nothing is left to say: the data begins anew with each run.
            if !is_named {
                self.left.push("volumes: a folder or file of the machine; put it into the image".into());
            }
        }
    }
}

/// `more` over `base`, as compose does it: lists follow each other, but for commands.
fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                match base.get_mut(key) {
                    Some(_) if ["command", "entrypoint", "test"].contains(&key.as_str()) => {
                        base.insert(key.clone(), value.clone());
                    }
                    Some(known) => merge(known, value),
                    None => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(base), Value::Array(more)) => base.extend(more.iter().cloned()),
        (base, more) => *base = more.clone(),
    }
}

/// The names of services, each after those that it waits for, as far as that goes.
fn in_order(all: &Map<String, Value>) -> Vec<String> {
    let needs = |name: &String| -> Vec<String> {
        match all[name].get("depends_on") {
            Some(Value::Array(names)) => names.iter().filter_map(text).collect(),
            Some(Value::Object(named)) => named.keys().cloned().collect(),
            _ => Vec::new(),
        }
    };
    let mut left: Vec<String> = all.keys().cloned().collect();
    let mut done: Vec<String> = Vec::new();
    while !left.is_empty() {
        let free = left.iter().position(|name| needs(name).iter().all(|need| !left.contains(need)));
        // A circle has no order.
        done.push(left.remove(free.unwrap_or(0)));
    }
    done
}

/// What is built, where all of it lies in the project and is known.
fn built(build: &Value, folder: &str) -> Option<Build> {
    let path = |path: &str| {
        let path = below(format!("{folder}/{path}").trim_start_matches('/'))?;
        Some(if path.is_empty() { ".".to_owned() } else { path })
    };
    let part = |name: &str| build.get(name).and_then(text);
    let known = |text: String| filled(&text).ok();
    let context = match build {
        Value::String(context) => context.clone(),
        Value::Object(_) => part("context").unwrap_or_else(|| ".".into()),
        _ => return None,
    };
    let context = known(context)?;
    let dockerfile = known(part("dockerfile").unwrap_or_else(|| "Dockerfile".into()))?;
    let mut made = Build {
        // From the context, unlike that of a devcontainer.json.
        dockerfile: Some(path(&format!("{context}/{dockerfile}"))?),
        context: Some(path(&context)?),
        target: part("target").map(|target| known(target).ok_or(())).transpose().ok()?,
        ..Build::default()
    };
    let args: Vec<(String, Option<String>)> = match build.get("args") {
        Some(Value::Object(all)) => all.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        Some(Value::Array(all)) => {
            let pair = |entry: String| match entry.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (entry, None),
            };
            all.iter().filter_map(text).map(pair).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in args {
        made.args.insert(name, known(value?)?);
    }
    made.check().ok().map(|()| made)
}

#[cfg(test)]
mod tests;
