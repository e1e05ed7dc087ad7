//! Repository URLs: stored without credentials, refused where a URL could do
//! more than name a repository (CVE-2020-5260 and its successors).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::serde_as_text;
use super::site::{Scheme, Site, split_port};
use crate::digest::Digest;
use crate::error::{Fault, usage};

/// An `https`, `ssh`, `http` or `file` URL of a git repository.
///
/// One grammar for all schemes, which leaves nothing to a second reader: what is
/// shown is put together from parts that were each checked, and git, ssh and curl
/// find the same parts in it. Passwords are stripped, and so are user names
/// except for ssh, where the name selects the account (`git@`) and is no
/// credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepoUrl {
    scheme: Scheme,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    /// The short form of ssh, `user@host:path`, whose path begins where the server
    /// says, and not at its root.
    relative: bool,
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
        let readable = readable.trim_start_matches(['.', '-']);
        let readable = if readable.is_empty() { "repository" } else { readable };
        format!("{readable}-{}", Digest::of(self.normal().as_bytes()).short())
    }

    /// The repository's own name: the last part of the path, without `.git`.
    pub fn name(&self) -> &str {
        let path = self.path.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or(path);
        last.strip_suffix(".git").unwrap_or(last)
    }

    /// It, and the long form of the short form of ssh: by which rules may know it.
    pub fn spellings(&self) -> Vec<String> {
        let long = RepoUrl { relative: false, ..self.clone() };
        if self.relative { vec![self.to_string(), long.to_string()] } else { vec![self.to_string()] }
    }

    /// Whether it names a folder of this machine.
    pub fn is_file(&self) -> bool {
        self.scheme == Scheme::File
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The account of an `ssh` URL.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The path as the other side gets it: with a `/` in front, but for one below
    /// somebody's home and in the short form; `None` where it is not valid UTF-8.
    pub fn path(&self) -> Option<String> {
        let path = decoded(&self.path)?;
        let home = self.scheme == Scheme::Ssh && path.starts_with('~');
        let bare = self.relative || home || self.is_file();
        Some(if bare { path } else { format!("/{path}") })
    }

    /// The path as it stands in an address, without a `/` in front.
    pub fn encoded_path(&self) -> &str {
        &self.path
    }

    /// Whether its path leads upwards somewhere.
    pub fn climbs(&self) -> bool {
        climbs(&decode(self.path.as_bytes()).0)
    }

    /// The port, where one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Where a connection goes; `None` for a folder of this machine.
    pub fn site(&self) -> Option<Site> {
        (!self.is_file()).then(|| Site::new(self.scheme, &self.host, self.port))
    }

    /// The host and its port.
    fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }

    /// One text for the spellings of one repository.
    pub fn normal(&self) -> String {
        let path = self.path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        format!("{}/{path}", self.authority().to_ascii_lowercase())
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
            Some(("file", rest)) => return folder(rest).map_err(bad),
            Some(_) => return Err(bad("only https, ssh, http and file are supported")),
            // A path is no URL: its percent signs stand for themselves.
            None if text.starts_with('/') => return folder(&text.replace('%', "%25")).map_err(bad),
            None if text.contains("::") => return Err(bad("remote helpers are not supported")),
            None => match text.split_once(':') {
                // The short form of ssh, user@host:path, in which nothing is decoded.
                Some((authority, path)) if !authority.contains('/') && !path.is_empty() => {
                    return short(authority, path).map_err(bad);
                }
                _ => return Err(bad("it is neither a URL nor an absolute path")),
            },
        };
        let (authority, path) = rest.split_once('/').ok_or_else(|| bad("it has no path"))?;
        assemble(scheme, authority, path).map_err(bad)
    }
}

fn folder(path: &str) -> Result<RepoUrl, &'static str> {
    if !path.starts_with('/') {
        return Err("a file URL needs an absolute path");
    }
    check_path(path, b"[]\\")?;
    Ok(RepoUrl {
        scheme: Scheme::File,
        user: None,
        host: String::new(),
        port: None,
        path: path.to_owned(),
        relative: false,
    })
}

/// The short form. What is behind the colon begins at the root where it says so.
fn short(authority: &str, path: &str) -> Result<RepoUrl, &'static str> {
    let (relative, path) = match path.strip_prefix('/') {
        Some(rest) => (false, rest),
        None => (true, path),
    };
    if relative && path.as_bytes().get(1) == Some(&b'~') {
        return Err("git leaves out what is before a tilde in the second place");
    }
    let url = assemble(Scheme::Ssh, authority, &path.replace('%', "%25"))?;
    Ok(RepoUrl { relative, ..url })
}

fn assemble(scheme: Scheme, authority: &str, path: &str) -> Result<RepoUrl, &'static str> {
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if userinfo.is_some_and(|info| info.contains(['@', '[', ']', '\\', '?', '#'])) {
        return Err("the user name is malformed");
    }
    let (host, port) = split_port(host)?;
    // Queries and fragments carry tokens, never a repository's name.
    let path = path.split(['?', '#']).next().unwrap_or(path);
    // As it travels: git sends no address with a space.
    let path = &path.replace(' ', "%20");
    if path.trim_matches('/').is_empty() || path.starts_with('-') {
        return Err("the path is missing or malformed");
    }
    check_path(path, b"@[]\\")?;
    if climbs(&decode(path.as_bytes()).0) {
        return Err("the path leads upwards");
    }
    let user = userinfo.map(|info| info.split(':').next().unwrap_or(info));
    let user = user.filter(|user| scheme == Scheme::Ssh && !user.is_empty()).map(str::to_owned);
    let user_ok = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if user.as_ref().is_some_and(|user| user.starts_with('-') || !user.chars().all(user_ok)) {
        return Err("the user name is malformed");
    }
    Ok(RepoUrl { scheme, user, host: host.to_owned(), port, path: path.to_owned(), relative: false })
}

/// A path in which, and in whatever it decodes to, none of these bytes is: git
/// decodes before it looks for the host.
fn check_path(path: &str, forbidden: &[u8]) -> Result<(), &'static str> {
    let mut bytes = path.as_bytes().to_vec();
    for depth in 0..4 {
        if bytes.iter().any(|byte| byte.is_ascii_control() || forbidden.contains(byte)) {
            return Err("the path has characters that git or ssh may take for something else");
        }
        let (decoded, whole) = decode(&bytes);
        if depth == 0 && !whole {
            return Err("the path has a percent sign that stands for nothing");
        }
        if decoded == bytes {
            return Ok(());
        }
        bytes = decoded;
    }
    Err("the path is encoded again and again")
}

fn climbs(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name == b"..")
}

/// What percent signs stand for; `None` where that is not valid UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    String::from_utf8(decode(text.as_bytes()).0).ok()
}

/// What percent signs stand for, and whether each of them stands for something.
fn decode(bytes: &[u8]) -> (Vec<u8>, bool) {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut whole, mut at) = (Vec::with_capacity(bytes.len()), true, 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                whole &= *byte != b'%';
                out.push(*byte);
                at += 1;
            }
        }
    }
    (out, whole)
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
            // In which nothing is decoded.
            (_, user) if self.relative => {
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                write!(f, "{user}{}:{}", self.host, String::from_utf8_lossy(&decode(self.path.as_bytes()).0))
            }
            (_, Some(user)) => write!(f, "{scheme}://{user}@{}/{}", self.authority(), self.path),
            (_, None) => write!(f, "{scheme}://{}/{}", self.authority(), self.path),
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
        assert_eq!(shown("git@git.example:a/b.git"), "git@git.example:a/b.git");
        assert_eq!(shown("git@git.example:/a/b.git"), "ssh://git@git.example/a/b.git");
        assert_eq!(shown("/srv/git/a.git"), "file:///srv/git/a.git");
        assert_eq!(shown("/home/me@work/50%"), "file:///home/me@work/50%25");
        assert_eq!(shown("git@git.example:v3/My%20Shop/a b"), "git@git.example:v3/My%20Shop/a b");
        assert_eq!(shown("git@git.example:/v3/My%20Shop/a"), "ssh://git@git.example/v3/My%2520Shop/a");
        assert_eq!(shown("https://git.example/My Shop/a"), "https://git.example/My%20Shop/a");
        assert_eq!(shown("https://[::1]:8443/My%20Shop/~a/b"), "https://[::1]:8443/My%20Shop/~a/b");
        assert_eq!(shown("ssh://git@127.0.0.1:29418/a"), "ssh://git@127.0.0.1:29418/a");
        let error = "ftp://user:secret@host/x".parse::<RepoUrl>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_short_form_keeps_where_its_path_begins() {
        let path = |text: &str| text.parse::<RepoUrl>().unwrap().path().unwrap();
        assert_eq!(path("git@a.example:repos/50%/x"), "repos/50%/x");
        assert_eq!(path("git@a.example:~/x"), "~/x");
        assert_eq!(path("git@a.example:/x"), "/x");
        assert_eq!(path("ssh://git@a.example/x%20y"), "/x y");
        assert_eq!(path("ssh://git@a.example/~me/x"), "~me/x");
        assert_eq!(path("file:///srv/a%20b"), "/srv/a b");
        let spellings = "git@a.example:x/y".parse::<RepoUrl>().unwrap().spellings();
        assert_eq!(spellings, ["git@a.example:x/y", "ssh://git@a.example/x/y"]);
        for bad in [
            "git@a.example:x@[b.example]:y",
            "a.example::x",
            "git@a.example:-x",
            "git@a.example:../x",
            "git@a.example:4~x",
        ] {
            assert!(bad.parse::<RepoUrl>().is_err(), "{bad}");
        }
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
            "ssh://git@approved.example/x@[other.example]/y",
            "ssh://git@approved.example/x%40%5bother.example%5d/y",
            "ssh://git@approved.example/x%2540%255bother.example%255d/y",
            "ssh://other.example%2f@approved.example/x",
            "ssh://other.example%2f@[approved.example]/x",
            "approved.example:x@[other.example]:y",
            "git@[other.example]:x",
            "[git@other.example:22]:x",
            "ssh://$(id)@host/x",
            "ssh://a b@host/x",
            "ssh://a%20b@host/x",
            "https://user@name@host/x",
            "https://host/x@other/y",
            "https://host\\@other/x",
            "https://host?@other/x",
            "https://host#@other/x",
            "https://host:ssh/x",
            "https://host:/x",
            "https://host:65536/x",
            "https://host:+22/x",
            "https://host%2eexample/x",
            "https://[fe80::1%25eth0]/x",
            "https://[other.example]/x",
            "https://127.1/x",
            "https://0x7f000001/x",
            "https://2130706433/x",
            "https://127.0.0.01/x",
            "https://host..example/x",
            "https://host.example./x",
            "https://-host/x",
            "https://h\u{f6}st/x",
            "https://host/50%/x",
            "https://host/x%0ay",
            "https://host/x%00y",
            "https://host/x%5cy",
            "file:///srv/x@[y]/etc",
            "file:///srv/x%40%5by%5d/etc",
            "/srv/x@[y]/etc",
            "HTTPS://host/x",
            "https://host/a/../b",
            "https://host/a/%2e%2e/b",
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
