//! Services that compose files of a checkout suggest.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Build, COMPOSE_FILES, Compose, ComposeService};
use crate::disk::beneath::Beneath;
use crate::ui::escape;
use anyhow::Result;

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
    let read = |name: &str| beneath.read(Path::new(name), MAX_FILE);
    let names: Vec<&str> = match named {
        [] => match COMPOSE_FILES.iter().find(|(name, _)| !matches!(read(name), Ok(None))) {
            Some((name, over)) => vec![name, over],
            None => return Ok(Composed::default()),
        },
        named => named.iter().map(String::as_str).collect(),
    };
    let mut found = Composed::default();
    let mut texts = Vec::new();
    for name in names {
        match read(name) {
            Ok(Some(bytes)) => texts.push((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned())),
            Ok(None) if named.is_empty() => {}
            Ok(None) => found.left.push((name.to_owned(), "it is not there".to_owned())),
            // Without one of them the others say something else.
            Err(why) => {
                found.left.push((name.to_owned(), why.to_string()));
                return Ok(found);
            }
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
            let (name, image) = (quoted(&service.name), quoted(&service.image));
            text.push_str(&format!("\n[[service]]\nname    = {name}\nimage   = {image}\n"));
            if !service.command.is_empty() {
                let words: Vec<String> = service.command.iter().map(|word| quoted(word)).collect();
                text.push_str(&format!("command = [{}]\n", words.join(", ")));
            }
            if !service.env.is_empty() {
                text.push_str(&format!("env     = {}\n", table(&service.env)));
            }
            match &service.ready {
                Some(ready) => text.push_str(&format!("ready   = {}\n", quoted(ready))),
                None => text.push_str("# ready = \"tcp:PORT\"   # so that nothing starts before it is\n"),
            }
        }
        text
    }
}

/// A text as TOML has it, with an escape for whatever would not be seen in an editor.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if escape(c.encode_utf8(&mut [0; 4])).chars().eq([c]) => out.push(c),
            _ => match u32::from(c) {
                short @ ..=0xffff => out.push_str(&format!("\\u{short:04X}")),
                long => out.push_str(&format!("\\U{long:08X}")),
            },
        }
    }
    out.push('"');
    out
}

/// Texts by name, on one line.
pub(super) fn table(all: &BTreeMap<String, String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let key = |name: &str| match !name.is_empty() && name.chars().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    };
    let pairs: Vec<String> = all.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen_and_read_back() {
        let value = "a\u{202e}b\u{2028}c\u{85}d\u{feff}e\u{1b}[2J\"'\\\n\t\r\0é✓\u{e0041}'''\"\"\" ${x} #";
        let written = table(&BTreeMap::from([("A".into(), value.into()), ("b c".into(), String::new())]));
        assert_eq!(escape(&written), written);
        let read: toml::Table = toml::from_str(&format!("x = {written}")).unwrap();
        assert_eq!(read["x"]["A"].as_str(), Some(value));
        assert_eq!(read["x"]["b c"].as_str(), Some(""));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let left = || composed(root, &[], None).unwrap().left;
        assert!(left().is_empty());
        let text = "services: { db: { image: x } }\n";
        std::fs::write(root.join("docker-compose.yml"), text).unwrap();
        assert_eq!(composed(root, &[], None).unwrap().names(), ["db"]);
        // Compose would read this one before it.
        let place = root.join("compose.yaml");
        std::fs::write(&place, format!("{text}#{}", "x".repeat(1 << 20))).unwrap();
        let found = composed(root, &[], None).unwrap();
        assert!(found.left[0].1.contains("too large") && found.names().is_empty(), "{found:?}");
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("docker-compose.yml", &place).unwrap();
        assert!(left()[0].1.contains("link"), "{:?}", left());
        std::fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &place,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(left()[0].1.contains("no file"), "{:?}", left());
        std::fs::remove_file(&place).unwrap();
        std::fs::write(&place, format!("{text}---\n{text}")).unwrap();
        assert!(left()[0].1.contains("more than one document"), "{:?}", left());
    }
}
