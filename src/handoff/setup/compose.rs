//! Services that compose files of a checkout suggest.

use std::path::Path;

use anyhow::Result;
use toml::Value;

use crate::config::{Build, COMPOSE_FILES, Compose, ComposeService};
use crate::disk::beneath::Beneath;

/// Upper bound for a file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What compose files come to in a first project file.
#[derive(Clone, Debug, Default)]
pub(super) struct Composed {
    /// The files, below the root.
    pub(super) files: Vec<String>,
    /// The service that one works in: its image, or what it is built of.
    pub(super) image: Option<String>,
    pub(super) build: Option<Build>,
    /// The others, as `[[service]]`.
    services: Vec<ComposeService>,
    /// What is not carried over: of which service, and why.
    pub(super) left: Vec<(String, String)>,
}

/// Reads the files that are named, below the root, or those that compose would read.
/// `service` is the one that one works in. A file that cannot be read is named.
///
/// # Errors
/// When the checkout cannot be read.
pub(super) fn composed(root: &Path, named: &[String], service: Option<&str>) -> Result<Composed> {
    let beneath = Beneath::open(root)?;
    let read = |name: &str| beneath.read(Path::new(name), MAX_FILE).ok().flatten();
    let names: Vec<&str> = match named {
        [] => match COMPOSE_FILES.iter().find(|(name, _)| read(name).is_some()) {
            Some((name, over)) => vec![name, over],
            None => return Ok(Composed::default()),
        },
        named => named.iter().map(String::as_str).collect(),
    };
    let mut found = Composed::default();
    let mut texts = Vec::new();
    for name in names {
        match read(name) {
            Some(bytes) => texts.push((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned())),
            None if named.is_empty() => {}
            None => found.left.push((name.to_owned(), "it is not there".to_owned())),
        }
    }
    found.files = texts.iter().map(|(name, _)| name.clone()).collect();
    let Some((first, _)) = texts.first() else { return Ok(found) };
    let folder = first.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match Compose::parse(&texts, &folder) {
        Ok(compose) => found.take(compose, service),
        Err(why) => found.left.push((found.files.join(", "), why.message)),
    }
    Ok(found)
}

impl Composed {
    fn take(&mut self, compose: Compose, service: Option<&str>) {
        self.left.extend(compose.left);
        // Who builds one image of its own works in that.
        let only = match &compose.built[..] {
            [(name, _)] => Some(name.clone()),
            _ => None,
        };
        let main = service.map(str::to_owned).or(only);
        for (name, build) in compose.built {
            match build {
                Some(build) if main.as_ref() == Some(&name) => self.build = Some(build),
                Some(_) => self.left.push((name, "it is built: a [[service]] needs an image by name".into())),
                None => self.left.push((name, "it is built of what is not known here, or lies outside".into())),
            }
        }
        let mut taken = Vec::new();
        for mut one in compose.services {
            if service == Some(one.name.as_str()) {
                self.image = Some(one.image);
                continue;
            }
            for port in one.ports.iter().filter(|port| taken.contains(*port)) {
                one.left.push(format!("port {port}: another service has it, and all share one loopback"));
            }
            taken.extend(one.ports.clone());
            let left = one.left.iter().map(|what| (one.name.clone(), what.clone()));
            self.left.extend(left);
            self.services.push(one);
        }
    }

    /// What is proposed, in words.
    pub(super) fn names(&self) -> Vec<String> {
        self.services.iter().map(|service| service.name.clone()).collect()
    }

    /// Ports that are reached from the machine.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.services.iter().flat_map(|service| service.published.iter().copied())
    }

    /// The `[[service]]` entries.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for service in &self.services {
            let quoted = |text: &str| Value::from(text).to_string();
            let (name, image) = (quoted(&service.name), quoted(&service.image));
            text.push_str(&format!("\n[[service]]\nname    = {name}\nimage   = {image}\n"));
            if !service.command.is_empty() {
                let words = service.command.iter().map(|word| word.as_str().into());
                text.push_str(&format!("command = {}\n", Value::Array(words.collect())));
            }
            if !service.env.is_empty() {
                let env = service.env.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
                text.push_str(&format!("env     = {}\n", Value::Table(env.collect())));
            }
            match &service.ready {
                Some(ready) => text.push_str(&format!("ready   = {}\n", quoted(ready))),
                None => text.push_str("# ready = \"tcp:PORT\"   # so that nothing starts before it is\n"),
            }
        }
        text
    }
}
