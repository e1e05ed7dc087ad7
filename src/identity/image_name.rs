//! How people name an image: as docker and podman do, or by where it lies.
//!
//! Only a command line, a variable and a project's file name images this way. An
//! identity holds an [`super::ImageRef`], which has no word for a file or an engine
//! of the machine that reads it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::names::check_repository;
use crate::digest::Digest;
use crate::error::{Fault, usage};

/// What names can look like, for hints.
const FORMS: &str = "python:3.12, ghcr.io/acme/dev:1, docker-daemon:NAME:TAG, containers-storage:NAME:TAG, \
                     docker-archive:FILE, oci-archive:FILE, oci:PATH:TAG; those on registries and in oci: also with @sha256:...";

/// An image as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// `python:3.12`, `ghcr.io/acme/dev:1`, `docker://...`: on a registry.
    Registry {
        /// With the parts that docker adds: `docker.io/library/python`.
        repository: String,
        /// Which of it.
        which: Which,
    },
    /// `oci:PATH[:TAG]`: an OCI image layout in a folder.
    Layout(InFile),
    /// `oci-archive:FILE[:TAG]`: such a layout in a tar.
    OciArchive(InFile),
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive(InFile),
    /// `docker-daemon:NAME`, `containers-storage:NAME`: an image of a local engine.
    Engine(EngineKind, String),
}

/// Which image of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The one with this tag.
    Tag(String),
    /// Exactly this one.
    Digest(Digest),
    /// There is only one.
    #[default]
    Only,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Tag(tag) => f.write_str(tag),
            Which::Digest(digest) => digest.fmt(f),
            Which::Only => f.write_str("without a tag"),
        }
    }
}

/// An engine that keeps images on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// docker.
    Docker,
    /// podman, and whatever shares its storage.
    Podman,
}

impl EngineKind {
    /// What stands before the name of one of its images.
    pub fn transport(self) -> &'static str {
        match self {
            EngineKind::Docker => "docker-daemon",
            EngineKind::Podman => "containers-storage",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Docker => "docker",
            EngineKind::Podman => "podman",
        })
    }
}

/// A path and what of it is meant. Both may hold colons: which of them separates
/// the two is decided by what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFile {
    text: String,
    digest: Option<Digest>,
}

impl InFile {
    fn new(text: &str) -> Result<Self, Fault> {
        let (text, digest) = match text.rsplit_once('@') {
            Some((path, digest)) if digest.starts_with("sha256:") => (path, Some(digest.parse()?)),
            _ => (text, None),
        };
        if text.is_empty() || text.starts_with(':') || text.contains('\0') {
            return Err(usage(format!("{text:?} names no path")).hint(format!("names look like {FORMS}")));
        }
        Ok(InFile { text: text.to_owned(), digest })
    }

    /// Every way to read it: the whole as a path, then with a shorter path each.
    pub fn readings(&self) -> Vec<(PathBuf, Which)> {
        let whole = || (PathBuf::from(&self.text), self.digest.map_or(Which::Only, Which::Digest));
        if self.digest.is_some() {
            return vec![whole()];
        }
        let split = self.text.match_indices(':').filter(|(at, _)| *at > 0 && at + 1 < self.text.len());
        let split = split.map(|(at, _)| (self.text[..at].into(), Which::Tag(self.text[at + 1..].to_owned())));
        std::iter::once(whole()).chain(split.collect::<Vec<_>>().into_iter().rev()).collect()
    }
}

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl FromStr for ImageName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some((transport, rest)) = text.split_once(':') {
            match transport {
                "oci" => return InFile::new(rest).map(ImageName::Layout),
                "oci-archive" => return InFile::new(rest).map(ImageName::OciArchive),
                "docker-archive" => return InFile::new(rest).map(ImageName::DockerArchive),
                "docker-daemon" => return in_engine(EngineKind::Docker, rest),
                "containers-storage" => return in_engine(EngineKind::Podman, rest),
                "docker" if rest.starts_with("//") => return on_registry(&rest[2..], text),
                _ => {}
            }
        }
        on_registry(text, text)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageName::Registry { repository, which: Which::Digest(digest) } => write!(f, "{repository}@{digest}"),
            ImageName::Registry { repository, which } => write!(f, "{repository}:{which}"),
            ImageName::Layout(place) => write!(f, "oci:{place}"),
            ImageName::OciArchive(place) => write!(f, "oci-archive:{place}"),
            ImageName::DockerArchive(place) => write!(f, "docker-archive:{place}"),
            ImageName::Engine(kind, name) => write!(f, "{}:{name}", kind.transport()),
        }
    }
}

fn bad(text: &str) -> Fault {
    usage(format!("{text:?} names no image")).hint(format!("names look like {FORMS}"))
}

/// An engine knows its images by names and IDs of its own: what it gets is one
/// word that is no option and no path.
fn in_engine(kind: EngineKind, name: &str) -> Result<ImageName, Fault> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    let sound = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 400
        && name.bytes().all(plain)
        && !name.split('/').any(|part| part.is_empty() || part == "..");
    if sound { Ok(ImageName::Engine(kind, name.to_owned())) } else { Err(bad(&format!("{}:{name}", kind.transport()))) }
}

/// Reads a name as docker does: what has no host is on Docker's own registry,
/// what has no folder there is in `library`, what has no tag has `latest`.
fn on_registry(name: &str, all: &str) -> Result<ImageName, Fault> {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
        None => (name, None),
    };
    // The last colon separates the tag, unless it belongs to a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(bad(all));
    }
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let repository = match name.split_once('/') {
        Some(("docker.io" | "index.docker.io" | "registry-1.docker.io", rest)) if rest.contains('/') => {
            format!("docker.io/{rest}")
        }
        Some(("docker.io" | "index.docker.io" | "registry-1.docker.io", rest)) => format!("docker.io/library/{rest}"),
        Some((host, _)) if is_host(host) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    if let Err(fault) = check_repository(&repository) {
        return Err(if name.starts_with(['/', '.', '~']) { fault } else { bad(all) });
    }
    let which = match digest {
        Some(digest) => Which::Digest(digest),
        None => Which::Tag(tag.unwrap_or("latest").to_owned()),
    };
    Ok(ImageName::Registry { repository, which })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=128).contains(&tag.len())
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_registries_are_read_as_docker_reads_them() {
        let digest = Digest::of(b"x");
        for (text, expected) in [
            ("python", "docker.io/library/python:latest"),
            ("python:3.12", "docker.io/library/python:3.12"),
            ("acme/dev:1", "docker.io/acme/dev:1"),
            ("docker.io/python:3", "docker.io/library/python:3"),
            ("index.docker.io/library/python", "docker.io/library/python:latest"),
            ("ghcr.io/x/y:1", "ghcr.io/x/y:1"),
            ("docker://quay.io/x/y", "quay.io/x/y:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5000/acme/dev:1.2", "127.0.0.1:5000/acme/dev:1.2"),
            ("registry.example:5000/acme/dev", "registry.example:5000/acme/dev:latest"),
        ] {
            assert_eq!(text.parse::<ImageName>().unwrap().to_string(), expected, "{text}");
        }
        // A digest says more than a tag.
        let both = format!("python:3.12@{digest}").parse::<ImageName>().unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/python@{digest}"));
    }

    #[test]
    fn a_path_and_its_tag_may_hold_colons() {
        let readings = |text: &str| match text.parse::<ImageName>().unwrap() {
            ImageName::Layout(place) | ImageName::OciArchive(place) | ImageName::DockerArchive(place) => {
                place.readings()
            }
            other => panic!("{other}"),
        };
        let tag = |tag: &str| Which::Tag(tag.into());
        assert_eq!(
            readings("oci:/srv/a:localhost/bb:latest"),
            [
                ("/srv/a:localhost/bb:latest".into(), Which::Only),
                ("/srv/a:localhost/bb".into(), tag("latest")),
                ("/srv/a".into(), tag("localhost/bb:latest")),
            ]
        );
        assert_eq!(readings("docker-archive:x.tar"), [("x.tar".into(), Which::Only)]);
        let digest = Digest::of(b"x");
        assert_eq!(readings(&format!("oci:/a:b@{digest}")), [("/a:b".into(), Which::Digest(digest))]);
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for bad in [
            "",
            "oci:",
            "oci::x",
            "docker-daemon:",
            "docker-daemon:-x",
            "docker-daemon:a b",
            "docker-daemon:../images/json",
            "docker-daemon:a/../b",
            "docker-daemon:a?b",
            "containers-storage:[overlay@/x]y",
            "docker-archive:",
            "dir:/srv/x",
            "UPPER/x:1",
            "python:",
            "python:3.12/x",
            "python:a b",
            "/srv/image.tar",
            "oci:/srv@sha256:1",
            "python@sha256:1",
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
    }
}
