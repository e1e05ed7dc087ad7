//! Where the secrets come from that a project names: the developer's own
//! configuration alone says so. And which values must not leave with a task.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::config::{SecretEntry, SecretSource};
use crate::credentials::is_secret_variable;
use crate::disk;
use crate::error::{failure, not_found};
use crate::handoff::app::App;
use crate::paths::INJECTED_SECRETS;
use crate::runtime::Injected;
use crate::secret::{self, Secret};

/// Upper bound for one value in bytes.
const MAX_SECRET: u64 = 1 << 20;

/// The values of these secrets. One without a source is named and left out.
///
/// # Errors
/// When a source fails; the value is in no message.
pub(crate) fn resolve(app: &App, wanted: &[SecretEntry]) -> Result<Vec<Injected>> {
    let mut found: Vec<Injected> = Vec::new();
    for SecretEntry { name, variable, file } in wanted {
        let Some(source) = app.user.secrets.get(name) else {
            app.ui.warn(&format!(
                "the project wants the secret {name}, which has no source here: [secrets] {name} = \"env:...\" in config.toml gives it one"
            ));
            continue;
        };
        let way_out = "mend [secrets] in config.toml, or enter with --no-secrets";
        let value =
            read(app, source).with_context(|| failure(format!("cannot get the secret {name}")).hint(way_out))?;
        anyhow::ensure!(!value.contains('\0'), "the secret {name} contains a NUL byte");
        found.push(Injected { name: name.clone(), value: Secret::new(value), variable: *variable, file: *file });
    }
    Ok(found)
}

/// The values that must not travel, as far as they are known here: those of the
/// project's secrets, from their sources or from the runtime that this process
/// is in, whatever its environment calls a secret, and what its own runtimes were
/// lent. A source that fails is named.
pub(crate) fn known(app: &App, wanted: &[SecretEntry]) -> Vec<Secret> {
    let mut values: Vec<String> = Vec::new();
    for SecretEntry { name, .. } in wanted {
        values.extend(app.env.named(name));
        let mounted = disk::read_file(&Path::new(INJECTED_SECRETS).join(name), MAX_SECRET).ok().flatten();
        values.extend(mounted.and_then(|bytes| String::from_utf8(bytes).ok()));
        match app.user.secrets.get(name).map(|source| read(app, source)) {
            Some(Ok(value)) => values.push(value),
            Some(Err(error)) => app.ui.warn(&format!("the value of {name} is not looked for: {error:#}")),
            None => {}
        }
    }
    values.extend(app.env.all().filter(|(name, value)| is_secret_variable(name, value)).map(|(_, value)| value));
    values.sort();
    values.dedup();
    values.into_iter().map(Secret::new).chain(secret::lent()).collect()
}

fn read(app: &App, source: &SecretSource) -> Result<String> {
    match source {
        SecretSource::Variable(name) => {
            let value = app.env.named(name);
            value.ok_or_else(|| not_found(format!("the variable {name} is not set")).into())
        }
        SecretSource::File(path) => {
            let path = app.paths.user_config().with_file_name(expand(app, path));
            let bytes = disk::read_stream(&path, MAX_SECRET)?;
            let bytes = bytes.ok_or_else(|| not_found(format!("{} does not exist", path.display())))?;
            one_line(bytes)
        }
        SecretSource::Command(command) => one_line(run(command)?),
    }
}

/// `~/` is the home folder, as shells have it.
fn expand(app: &App, path: &str) -> std::path::PathBuf {
    match (path.strip_prefix("~/"), &app.env.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

/// The command's words on stderr are the developer's to see; its output is
/// the value.
fn run(command: &str) -> Result<Vec<u8>> {
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start /bin/sh")?;
    if !output.status.success() {
        return Err(failure(format!("its command ended with {}", output.status)).into());
    }
    Ok(output.stdout)
}

/// Without the line break that files and commands end with.
fn one_line(bytes: Vec<u8>) -> Result<String> {
    let mut text = String::from_utf8(bytes).map_err(|_| failure("it is not valid UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    anyhow::ensure!(!text.is_empty(), "it is empty");
    Ok(text)
}
