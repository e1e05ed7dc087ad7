//! Which server is asked for large files: the developer's own for all
//! repositories, the one that an ssh server names, or the repository's host.

use anyhow::{Context as _, Result};
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::super::way::Contact;
use super::batch::{Headers, headers};
use crate::error::{failure, integrity, unreachable};
use crate::identity::{RepoUrl, Scheme};

/// No honest answer of an ssh server is longer.
const MAX_ANSWER: usize = 64 << 10;

/// A server of the batch interface.
#[derive(Debug)]
pub(super) struct Server {
    /// Its address, without a slash at its end.
    pub(super) url: Url,
    /// What an ssh server gave for it.
    pub(super) headers: HeaderMap,
    /// Whom the developer named or approved: the gate is seen from there.
    pub(super) base: Url,
}

#[derive(Deserialize)]
struct SshAnswer {
    #[serde(default)]
    href: String,
    #[serde(default)]
    header: Headers,
}

/// Finds it; an ssh server is asked.
///
/// # Errors
/// When there is none that may be asked.
pub(super) fn find(contact: &Contact<'_>) -> Result<Server> {
    let address = contact.order.address().context("the repository has no address")?;
    if let Some(named) = contact.own.as_ref().and_then(|own| own.large_files_url()) {
        let url = Url::parse(named).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let mut url = url.ok_or_else(|| failure("lfs.url in your git configuration is no https or http address"))?;
        let _ = (url.set_username(""), url.set_password(None));
        return Ok(Server { base: url.clone(), url, headers: HeaderMap::new() });
    }
    let host = address.site().context("the repository is in a folder")?;
    let plain = |scheme: &str, port: Option<u16>| {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Url::parse(&format!("{scheme}://{}{port}/", host.host())).context("the repository's host is no address")
    };
    let below = |base: &Url| {
        let path = address.encoded_path().trim_end_matches('/').to_owned();
        let dot_git = if path.ends_with(".git") { "" } else { ".git" };
        base.join(&format!("{path}{dot_git}/info/lfs")).context("the repository's path is no address")
    };
    match address.scheme() {
        Scheme::Https | Scheme::Http => {
            let base = plain(address.scheme().as_str(), address.port())?;
            Ok(Server { url: below(&base)?, headers: HeaderMap::new(), base })
        }
        Scheme::Ssh => {
            let answer = authenticate(contact, &address)?;
            let headers = headers(&answer.header)?;
            let url = match answer.href.trim_end_matches('/') {
                "" => below(&plain("https", None)?)?,
                href => Url::parse(href).map_err(|_| integrity("the ssh server names a place that is no address"))?,
            };
            // Without TLS at the host that was approved, but no credentials go there.
            Ok(Server { url, headers, base: plain("http", address.port())? })
        }
        Scheme::File => Err(failure("the repository is in a folder").into()),
    }
}

/// Asks the ssh server, through the ssh that git would use.
fn authenticate(contact: &Contact<'_>, address: &RepoUrl) -> Result<SshAnswer> {
    let path = address.path().context("the repository's path is not valid UTF-8")?;
    let command = format!("git-lfs-authenticate {} download", quoted(&path));
    let host = address.site().map(|site| site.host().trim_matches(['[', ']']).to_owned()).unwrap_or_default();
    let destination = address.user().map_or(host.clone(), |user| format!("{user}@{host}"));
    let port = address.port().map(|port| port.to_string());
    let mut words = vec!["git-ssh"];
    if contact.ssh_variant == "tortoiseplink" {
        words.push("-batch");
    }
    if let Some(port) = &port {
        let puttys = ["plink", "putty", "tortoiseplink"].contains(&contact.ssh_variant.as_str());
        words.extend([if puttys { "-P" } else { "-p" }, port]);
    }
    words.extend([destination.as_str(), &command]);
    let program = contact.order.program.clone();
    let answer = contact.started(&program, &words, b"")?;
    if !answer.ok {
        return Err(unreachable(answer.complaint).into());
    }
    let text = answer.stdout.get(..MAX_ANSWER.min(answer.stdout.len())).unwrap_or_default();
    serde_json::from_slice(text).map_err(|_| {
        integrity("the ssh server's answer to git-lfs-authenticate is not what the Git LFS interface says").into()
    })
}

/// A path for the shell at the other end, quoted where it has to be: servers that
/// are no shell may know nothing of quotes.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~".contains(c);
    if path.chars().all(is_plain) && !path.starts_with('-') {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''").replace('!', "'\\!'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted("/a/b.git"), "/a/b.git");
        assert_eq!(quoted("~/a"), "~/a");
        for path in ["/a;id", "/a b", "/$(id)", "/it's", "/a!b", "/`id`", "/a|b&c", "-x"] {
            let echoed = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(path))]).output();
            let said = String::from_utf8(echoed.unwrap().stdout).unwrap();
            assert_eq!(said, path);
        }
    }
}
