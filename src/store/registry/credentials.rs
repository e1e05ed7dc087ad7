//! Credentials as `docker`, `podman` and `oras` keep them: auth files in their
//! order, helpers by the protocol of docker-credential-helpers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::disk;
use crate::error::{failure, unreachable, usage};
use crate::helper::{self, HelperManner};
use crate::quantity::human_duration;
use crate::secret;
use crate::store::AuthFiles;

/// Upper bound for auth files in bytes.
const MAX_FILE: u64 = 1 << 20;

/// How long the end of an answer may come after the end of the helper.
const LINGER: Duration = Duration::from_secs(2);

/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What opens a registry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RegistryLogin {
    /// A name and a password.
    Password(String, String),
    /// An OAuth refresh token.
    Identity(String),
    /// A token that is sent as it is.
    Bearer(String),
}

impl RegistryLogin {
    /// Lets the filter of everything that is printed know it: a registry may say
    /// in an error what it was sent.
    pub(super) fn hide(&self) {
        match self {
            RegistryLogin::Password(user, password) => secret::remember_login(user, password),
            RegistryLogin::Identity(token) | RegistryLogin::Bearer(token) => secret::remember(token),
        }
    }
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RegistryLogin::Password(..) => "Password",
            RegistryLogin::Identity(_) => "Identity",
            RegistryLogin::Bearer(_) => "Bearer",
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

/// Finds what opens `repository` on `host`; `None` means anonymous.
///
/// # Errors
/// When a file is malformed, or names a helper that does not work.
pub(super) fn find(files: &AuthFiles, host: &str, repository: &str) -> Result<Option<RegistryLogin>> {
    for path in &files.files {
        let Some(bytes) = disk::read_file(path, MAX_FILE)? else { continue };
        // The parser's message could quote what is inside.
        let file: AuthFile = serde_json::from_slice(&bytes).map_err(|error| {
            usage(format!("{} is not a valid auth file (line {})", path.display(), error.line()))
                .hint("repair it, or log in again with the tool that wrote it")
        })?;
        if let Some(login) = in_file(files, path, &file, host, repository)? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

fn in_file(
    files: &AuthFiles,
    path: &Path,
    file: &AuthFile,
    host: &str,
    repository: &str,
) -> Result<Option<RegistryLogin>> {
    for key in keys(host, repository) {
        if let Some(helper) = file.cred_helpers.get(&key) {
            return ask(files, path, helper, &key);
        }
        if let Some(entry) = file.auths.get(&key) {
            if let Some(login) = entry.login(path, &key)? {
                return Ok(Some(login));
            }
            if let Some(helper) = &file.creds_store {
                return ask(files, path, helper, &key);
            }
        }
    }
    // The store may know hosts that the file does not list.
    match &file.creds_store {
        Some(helper) => ask(files, path, helper, server(host)),
        None => Ok(None),
    }
}

/// Keys under which an entry may stand, the most specific first.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let full = format!("{host}/{repository}");
    let mut keys: Vec<String> = Vec::new();
    let mut rest = full.as_str();
    loop {
        keys.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => break,
        }
    }
    keys.extend(["/", "/v1/", "/v2/"].map(|end| format!("https://{host}{end}")));
    keys.extend([format!("https://{host}"), format!("http://{host}")]);
    if server(host) != host {
        keys.push(server(host).to_owned());
    }
    keys
}

/// The name under which Docker's own registry is kept.
fn server(host: &str) -> &str {
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        "https://index.docker.io/v1/"
    } else {
        host
    }
}

impl AuthEntry {
    fn login(&self, path: &Path, key: &str) -> Result<Option<RegistryLogin>> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(RegistryLogin::Identity(token)));
        }
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(RegistryLogin::Bearer(token)));
        }
        if let Some(auth) = some(&self.auth) {
            let malformed = || usage(format!("{}: the entry of {key} is malformed", path.display()));
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| malformed())?;
            let text = String::from_utf8(bytes).map_err(|_| malformed())?;
            let (user, password) = text.split_once(':').ok_or_else(malformed)?;
            // Padding that old tools left.
            return Ok(Some(RegistryLogin::Password(user.into(), password.trim_end_matches('\0').into())));
        }
        Ok(some(&self.username)
            .zip(some(&self.password))
            .map(|(user, password)| RegistryLogin::Password(user, password)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME get`.
fn ask(files: &AuthFiles, path: &Path, helper: &str, key: &str) -> Result<Option<RegistryLogin>> {
    let name = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(usage(format!("{}: {helper:?} is no name of a credential helper", path.display())).into());
    }
    let program = disk::find_program(files.path.as_deref(), &name).ok_or_else(|| {
        failure(format!("the credential helper {name} is not on the PATH; {} names it for {key}", path.display()))
            .hint(format!("install {name}, or remove it from {}", path.display()))
    })?;
    let (status, said) = answer_of(files, &program, &name, key)?;
    if !status.success() {
        // By the protocol the reason is on stdout.
        if String::from_utf8_lossy(&said).contains("credentials not found") {
            return Ok(None);
        }
        // What it said may hold the password.
        return Err(failure(format!("{name} failed for {key} ({status})"))
            .hint(format!("see what it says: echo {key} | {name} get"))
            .into());
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&said).map_err(|_| failure(format!("{name} gave no valid answer for {key}")))?;
    Ok(match answer {
        HelperAnswer { secret, .. } if secret.is_empty() => None,
        HelperAnswer { username, secret } if username == TOKEN_USER => Some(RegistryLogin::Identity(secret)),
        HelperAnswer { username, secret } => Some(RegistryLogin::Password(username, secret)),
    })
}

/// Runs a helper; how it ended, and what it printed. One that takes too long is
/// ended, with all that it started.
fn answer_of(files: &AuthFiles, program: &Path, name: &str, key: &str) -> Result<(ExitStatus, Vec<u8>)> {
    let manner = HelperManner { interactive: files.interactive, patience: files.patience };
    let mut command = match &files.guard {
        Some(guard) => helper::command(guard, manner, program),
        None => Command::new(program),
    };
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let not_started = |why: &str| {
        failure(format!("the credential helper {} cannot be started{why}", program.display()))
            .hint(format!("check that it is a program for this machine: {name} version"))
    };
    let mut child = command.spawn().map_err(|error| not_started(&format!(": {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says why by its exit code.
        let _ = stdin.write_all(key.as_bytes());
    }
    let stdout = child.stdout.take();
    let (tell, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = stdout.map(|stdout| stdout.take(MAX_FILE).read_to_end(&mut said)).transpose();
        let _ = tell.send(read.map(|_| said));
    });
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    match status.code() {
        Some(helper::SILENT) => {
            let patience = human_duration(files.patience);
            return Err(unreachable(format!("{name} did not answer for {key} within {patience}"))
                .hint(format!("see what it waits for: echo {key} | {name} get; --net-timeout gives it more time"))
                .into());
        }
        Some(helper::NO_PROGRAM) => return Err(not_started("").into()),
        _ => {}
    }
    // What has made itself a session of its own may hold the pipe open.
    let said = said.recv_timeout(LINGER);
    let said = said.map_err(|_| failure(format!("{name} has ended, and something that it started goes on")))?;
    Ok((status, said.with_context(|| format!("cannot read what {name} says"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn password(user: &str, password: &str) -> Option<RegistryLogin> {
        Some(RegistryLogin::Password(user.into(), password.into()))
    }

    fn entry(user: &str) -> String {
        format!(r#"{{"auth": "{}"}}"#, STANDARD.encode(format!("{user}:p:w")))
    }

    #[test]
    fn the_first_file_that_knows_the_host_wins_and_the_longest_key_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let a = format!(r#"{{"auths": {{"r.example": {}, "r.example/acme/x": {}}}}}"#, entry("host"), entry("exact"));
        let b =
            format!(r#"{{"auths": {{"r.example": {}, "https://o.example/v1/": {}}}}}"#, entry("second"), entry("v1"));
        std::fs::write(&one, a).unwrap();
        std::fs::write(&two, b).unwrap();
        let files = AuthFiles { files: vec![dir.path().join("missing"), one, two], path: None, ..AuthFiles::default() };
        assert_eq!(find(&files, "r.example", "acme/x").unwrap(), password("exact", "p:w"));
        assert_eq!(find(&files, "r.example", "acme/y").unwrap(), password("host", "p:w"));
        assert_eq!(find(&files, "o.example", "a").unwrap(), password("v1", "p:w"));
        assert_eq!(find(&files, "other.example", "a").unwrap(), None);
    }

    #[test]
    fn a_helper_is_asked_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"credHelpers": {"r.example": "test"}, "credsStore": "gone"}"#).unwrap();
        let script = "#!/bin/sh\nread -r host; [ \"$1\" = get ] && echo \"{\\\"Username\\\": \\\"$host\\\", \\\"Secret\\\": \\\"s\\\"}\"\n";
        let helper = dir.path().join("docker-credential-test");
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        let files = AuthFiles { files: vec![file], path: Some(path), ..AuthFiles::default() };
        assert_eq!(find(&files, "r.example", "x").unwrap(), password("r.example", "s"));
        let error = find(&files, "o.example", "x").unwrap_err();
        assert!(error.to_string().contains("docker-credential-gone"), "{error}");
    }

    #[test]
    fn what_a_failing_helper_said_is_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"credHelpers": {"r.example": "test"}}"#).unwrap();
        let helper = dir.path().join("docker-credential-test");
        std::fs::write(&helper, "#!/bin/sh\ncat >/dev/null\necho hunter2\necho hunter2 >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        let files = AuthFiles { files: vec![file], path: Some(path), ..AuthFiles::default() };
        let error = find(&files, "r.example", "x").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("docker-credential-test failed for r.example"), "{error}");
    }

    #[test]
    fn case_46_a_broken_file_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#).unwrap();
        let files = AuthFiles { files: vec![file.clone()], path: None, ..AuthFiles::default() };
        let error = format!("{:#}", find(&files, "r.example", "x").unwrap_err());
        assert!(error.contains("r.example") && !error.contains("secret") && !error.contains("c2V"), "{error}");
        std::fs::write(&file, "{ \"auths\": hunter2").unwrap();
        let error = format!("{:#}", find(&files, "r.example", "x").unwrap_err());
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        assert_eq!(format!("{:?}", RegistryLogin::Password("u".into(), "hunter2".into())), "Password");
    }
}
