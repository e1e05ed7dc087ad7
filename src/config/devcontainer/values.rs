//! Variables in the values of a `devcontainer.json`: what they come to here.

/// What is known of the checkout before there is a runtime.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The repository's name: the same in each clone of it.
    pub name: String,
    /// The file's folder, below the root; empty for the root.
    pub folder: String,
    /// Its name in that folder.
    pub file: String,
}

/// A value without its variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// As a project's file writes it.
    Known(String),
    /// It depends on this variable of the developer's environment.
    OfHost(String),
    /// It depends on this, which nobody knows.
    Unknown(String),
}

/// What can stand for what.
pub(super) struct Substitutions<'a> {
    pub(super) around: &'a Surroundings,
    /// Where the workspace is inside.
    pub(super) workdir: Option<&'a str>,
    /// Whether `${NAME}` is written for a variable of the image.
    pub(super) inside: bool,
}

impl Substitutions<'_> {
    pub(super) fn of(&self, text: &str) -> Value {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((variable, after)) = after.split_once('}') else {
                out.push_str(if self.inside { "$${" } else { "${" });
                rest = after;
                continue;
            };
            match self.variable(variable) {
                Ok(value) => out.push_str(&value),
                Err(value) => return value,
            }
            rest = after;
        }
        out.push_str(rest);
        Value::Known(out)
    }

    fn variable(&self, variable: &str) -> Result<String, Value> {
        let (kind, more) = variable.split_once(':').map_or((variable, None), |(kind, more)| (kind, Some(more)));
        let unknown = || Value::Unknown(format!("${{{variable}}}"));
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match (kind, more, self.workdir) {
            ("localWorkspaceFolderBasename", None, _) => Ok(self.around.name.clone()),
            ("containerWorkspaceFolder", None, Some(workdir)) => Ok(workdir.to_owned()),
            ("containerWorkspaceFolderBasename", None, Some(workdir)) => Ok(base(workdir)),
            ("localEnv" | "env", Some(more), _) => match more.split_once(':') {
                // What its author wants where nobody has set it.
                Some((_, default)) => Ok(default.to_owned()),
                None => Err(Value::OfHost(more.to_owned())),
            },
            ("containerEnv", Some(more), _) if self.inside => {
                let name = more.split(':').next().unwrap_or_default();
                if is_variable(name) { Ok(format!("${{{name}}}")) } else { Err(unknown()) }
            }
            _ => Err(unknown()),
        }
    }
}

/// What a shell takes for the name of a variable, and envctl does not use itself.
pub(super) fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("ENVCTL_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_to_what_is_known_here() {
        let around = Surroundings { name: "shop".into(), folder: String::new(), file: String::new() };
        let values = Substitutions { around: &around, workdir: Some("/workspaces/shop"), inside: true };
        for (text, expected) in [
            ("plain $HOME", "plain $HOME"),
            ("/w/${localWorkspaceFolderBasename}/x", "/w/shop/x"),
            ("${containerWorkspaceFolder}/bin:${containerEnv:PATH}", "/workspaces/shop/bin:${PATH}"),
            ("${containerWorkspaceFolderBasename}", "shop"),
            ("${localEnv:LEVEL:info}", "info"),
            ("${localEnv:LEVEL:}", ""),
            ("${open", "$${open"),
        ] {
            assert_eq!(values.of(text), Value::Known(expected.into()), "{text}");
        }
        assert_eq!(values.of("a${localEnv:TOKEN}"), Value::OfHost("TOKEN".into()));
        for unknown in ["${localWorkspaceFolder}", "${devcontainerId}", "${containerEnv:A B}", "${}"] {
            assert_eq!(values.of(unknown), Value::Unknown(unknown.into()));
        }
        let early = Substitutions { around: &around, workdir: None, inside: false };
        assert!(matches!(early.of("${containerEnv:PATH}"), Value::Unknown(_)));
    }
}
