//! Repository URLs: stored without credentials, refused where a URL could do
//! more than name a repository (CVE-2020-5260 and its successors).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::serde_as_text;
use crate::digest::Digest;
use crate::error::{Fault, usage};

/// An `https`, `ssh`, `http` or `file` URL of a git repository.
///
/// Passwords are stripped, and so are user names except for ssh, where the
/// name selects the account (`git@`) and is no credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepoUrl {
    scheme: Scheme,
    user: Option<String>,
    host: String,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Https,
    Ssh,
    Http,
    File,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Ssh => "ssh",
            Scheme::Http => "http",
            Scheme::File => "file",
        }
    }
}

impl RepoUrl {
    /// A name for paths: the repository's own name, readable, and a hash.
    pub fn key(&self) -> String {
        let name = self.name();
        let readable: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .take(40)
            .collect();
        format!("{}-{}", readable.trim_start_matches(['.', '-']), Digest::of(self.normal().as_bytes()).short())
    }

    /// The repository's own name: the last part of the path, without `.git`.
    pub fn name(&self) -> &str {
        let path = self.path.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or(path);
        last.strip_suffix(".git").unwrap_or(last)
    }

    /// Whether it names a folder of this machine.
    pub fn is_file(&self) -> bool {
        self.scheme == Scheme::File
    }

    /// The host and its port; `None` for a folder of this machine.
    pub fn host(&self) -> Option<&str> {
        (!self.is_file()).then_some(self.host.as_str())
    }

    /// One text for the spellings of one repository.
    fn normal(&self) -> String {
        let path = self.path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        format!("{}/{path}", self.host.to_ascii_lowercase())
    }
}

impl FromStr for RepoUrl {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = |why: &str| usage(format!("{:?} is not a usable repository URL: {why}", redact(text)));
        if text.chars().any(char::is_control) {
            return Err(bad("it contains control characters"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("ssh" | "git+ssh", rest)) => (Scheme::Ssh, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("file", rest)) => (Scheme::File, rest),
            Some(_) => return Err(bad("only https, ssh, http and file are supported")),
            None if text.starts_with('/') => (Scheme::File, text),
            None if text.contains("::") => return Err(bad("remote helpers are not supported")),
            None => match text.split_once(':') {
                // The short form of ssh: user@host:path.
                Some((host, path)) if !host.contains('/') && !path.is_empty() => {
                    return assemble(Scheme::Ssh, host, path).map_err(&bad);
                }
                _ => return Err(bad("it is neither a URL nor an absolute path")),
            },
        };
        if scheme == Scheme::File {
            if !rest.starts_with('/') {
                return Err(bad("a file URL needs an absolute path"));
            }
            return Ok(RepoUrl { scheme, user: None, host: String::new(), path: rest.to_owned() });
        }
        let (authority, path) = rest.split_once('/').ok_or_else(|| bad("it has no path"))?;
        assemble(scheme, authority, path).map_err(bad)
    }
}

fn assemble(scheme: Scheme, authority: &str, path: &str) -> Result<RepoUrl, &'static str> {
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    // Queries and fragments carry tokens, never a repository's name.
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let host_ok = |c: char| c.is_ascii_alphanumeric() || "._-:[]%".contains(c);
    if !host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') || !host.chars().all(host_ok) {
        return Err("the host is missing or malformed");
    }
    if path.trim_matches('/').is_empty() || path.starts_with('-') {
        return Err("the path is missing or malformed");
    }
    let user = userinfo.map(|info| info.split(':').next().unwrap_or(info)).filter(|user| !user.is_empty());
    if user.is_some_and(|user| user.starts_with('-')) {
        return Err("the user name is malformed");
    }
    let user = if scheme == Scheme::Ssh { user.map(str::to_owned) } else { None };
    Ok(RepoUrl { scheme, user, host: host.to_owned(), path: path.to_owned() })
}

/// The text without anything that may be a credential, for messages.
fn redact(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://...@{rest}"),
        (None, Some((_, rest))) => format!("...@{rest}"),
        _ => text.to_owned(),
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match (&self.scheme, &self.user) {
            (Scheme::File, _) => write!(f, "file://{}", self.path),
            (_, Some(user)) => write!(f, "{scheme}://{user}@{}/{}", self.host, self.path),
            (_, None) => write!(f, "{scheme}://{}/{}", self.host, self.path),
        }
    }
}

serde_as_text!(RepoUrl);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        text.parse::<RepoUrl>().unwrap().to_string()
    }

    #[test]
    fn credentials_never_stay() {
        assert_eq!(shown("https://user:token@git.example/a/b.git?private_token=x"), "https://git.example/a/b.git");
        assert_eq!(shown("https://ghp_token@git.example/a/b"), "https://git.example/a/b");
        assert_eq!(shown("ssh://git:pw@git.example:2222/a/b"), "ssh://git@git.example:2222/a/b");
        assert_eq!(shown("git@git.example:a/b.git"), "ssh://git@git.example/a/b.git");
        assert_eq!(shown("/srv/git/a.git"), "file:///srv/git/a.git");
        let error = "ftp://user:secret@host/x".parse::<RepoUrl>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn case_45_urls_that_could_do_more_are_refused() {
        for bad in [
            "https://host\n/x",
            "https://host/x\ny",
            "ssh://git@host/x\r",
            "https:///x",
            "https://host",
            "ext::sh -c id",
            "-oProxyCommand=x:y",
            "ssh://-oX/y",
            "ssh://-u@host/y",
            "relative/path",
            "file://host/x",
            "git://host/x",
            "https://ho st/x",
            "host:-x",
            "a\0b",
        ] {
            assert!(bad.parse::<RepoUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spellings_of_one_repository_share_a_mirror() {
        let key = |text: &str| text.parse::<RepoUrl>().unwrap().key();
        assert_eq!(key("git@git.example:a/b.git"), key("https://git.example/a/b"));
        assert_ne!(key("https://git.example/a/b"), key("https://git.example/a/c"));
        assert!(key("/srv/git/shop.git").starts_with("shop-"));
    }

    proptest! {
        #[test]
        fn parsing_is_stable_and_never_panics(text in "(https|ssh|file|)(://)?[a-z@:/.?#-]{0,30}") {
            if let Ok(url) = text.parse::<RepoUrl>() {
                prop_assert_eq!(url.to_string().parse::<RepoUrl>().unwrap(), url);
            }
        }
    }
}
