//! `toolchain.build`: an image that an engine of the developer's builds from a
//! Dockerfile of the project.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SecretEntry;
use crate::error::{Fault, usage};

/// `toolchain.build`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The Dockerfile, below the project's root; that of the context otherwise.
    pub dockerfile: Option<String>,
    /// The folder that it copies from, below the project's root; the root otherwise.
    pub context: Option<String>,
    /// Values of its `ARG`s.
    pub args: BTreeMap<String, String>,
    /// The stage that is built.
    pub target: Option<String>,
    /// Secrets that it may mount, by name.
    pub secrets: Vec<SecretEntry>,
    /// The `devcontainer.json` with features from which it is made instead, below the
    /// project's root.
    pub devcontainer: Option<String>,
}

impl Build {
    /// The context's path below the root, with one spelling; empty for the root.
    pub fn context(&self) -> String {
        self.context.as_deref().and_then(below).unwrap_or_default()
    }

    /// The Dockerfile's path below the root, with one spelling.
    pub fn dockerfile(&self) -> String {
        let own = || {
            let context = self.context();
            if context.is_empty() { "Dockerfile".to_owned() } else { format!("{context}/Dockerfile") }
        };
        self.dockerfile.as_deref().and_then(below).filter(|path| !path.is_empty()).unwrap_or_else(own)
    }

    /// What it is built from, for people.
    pub fn shown(&self) -> String {
        self.devcontainer.as_deref().and_then(below).unwrap_or_else(|| self.dockerfile())
    }

    /// Refuses what leads out of the project, or is no word for an engine.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let all = [("dockerfile", &self.dockerfile), ("context", &self.context), ("devcontainer", &self.devcontainer)];
        for (key, path) in all {
            if path.as_deref().is_some_and(|path| below(path).is_none()) {
                let path = path.as_deref().unwrap_or_default();
                return Err(usage(format!("toolchain.build.{key}: {path:?} is not a path inside the project")));
            }
        }
        if self.devcontainer.is_some()
            && *self != (Build { devcontainer: self.devcontainer.clone(), ..Build::default() })
        {
            return Err(usage("toolchain.build.devcontainer: the file says all of the build")
                .hint("leave the other keys of toolchain.build out"));
        }
        let word = |text: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && text.bytes().all(plain)
        };
        if let Some(name) = self.args.keys().find(|name| !word(name)) {
            return Err(usage(format!("toolchain.build.args: {name:?} is no name of an argument")));
        }
        if let Some((name, _)) = self.args.iter().find(|(_, value)| value.contains('\0')) {
            return Err(usage(format!("toolchain.build.args: the value of {name} holds a NUL byte")));
        }
        match &self.target {
            Some(target) if !word(target) => Err(usage(format!("toolchain.build.target: {target:?} names no stage"))),
            _ => Ok(()),
        }
    }
}

/// A path below the project's root, with one spelling; `None` for one that leads out.
pub(super) fn below(path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with('/') || path.contains(['\0', '\\', '\n']) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use crate::config::Project;

    fn build(text: &str) -> Result<super::Build, crate::error::Fault> {
        let project = Project::parse(&format!("[toolchain]\nbuild = {{ {text} }}"), "envctl.toml")?;
        Ok(project.toolchain.build.unwrap())
    }

    #[test]
    fn a_build_stays_in_the_project() {
        for (text, dockerfile, context) in [
            ("", "Dockerfile", ""),
            ("context = \".\"", "Dockerfile", ""),
            ("context = \"./docker/\"", "docker/Dockerfile", "docker"),
            (
                "context = \".devcontainer/..\", dockerfile = \".devcontainer/Dockerfile\"",
                ".devcontainer/Dockerfile",
                "",
            ),
        ] {
            let build = build(text).unwrap();
            assert_eq!((build.dockerfile(), build.context()), (dockerfile.into(), context.into()), "{text}");
        }
        for bad in [
            "context = \"..\"",
            "context = \"/srv\"",
            "dockerfile = \"a/../../b\"",
            "dockerfile = \"\"",
            "args = { \"-x\" = \"1\" }",
            "args = { \"A B\" = \"1\" }",
            "target = \"--output=x\"",
            "secrets = [\"../x\"]",
            "contxt = \".\"",
        ] {
            assert!(build(bad).is_err(), "{bad}");
        }
        let both = "[toolchain]\nimage = \"x\"\nbuild = { context = \".\" }";
        assert!(Project::parse(both, "envctl.toml").unwrap_err().to_string().contains("toolchain.build"));
    }
}
