//! Names parsed at the boundary: task IDs, commits, pinned images; the tags of a task's
//! lines; and what becomes of the names of foreign files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry_name::check_entry_name;
use crate::digest::Digest;
use crate::error::{Fault, integrity, usage};
use crate::visible::{self, is_for_names};

/// The longest name of a foreign file in bytes: what file systems take, less room
/// for a suffix.
const MAX_NAME: usize = 200;

/// What stands before a foreign name that would be obeyed by itself.
const HARMLESS: &str = "artifact-";

/// How the tags of lines begin.
const LINE: &str = "id-beside-";

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use serde_as_text;

/// A task ID: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, a valid OCI tag that is not
/// one of the names that a store uses itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(String);

impl TaskId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a store keeps this tag for itself: `id-*`, `sha256-*`,
    /// `cache-*`, `index-v1`, `spending-v1`, and `image-` or `claim-` before a full digest.
    pub fn is_reserved(tag: &str) -> bool {
        ["id-", "sha256-", "cache-"].iter().any(|prefix| tag.starts_with(prefix))
            || ["index-v1", "spending-v1"].contains(&tag)
            || ["image-", "claim-"]
                .iter()
                .any(|prefix| tag.strip_prefix(prefix).is_some_and(|hex| Digest::from_hex(hex).is_ok()))
    }
}

impl FromStr for TaskId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let wellformed =
            (1..=128).contains(&bytes.len()) && bytes[0].is_ascii_alphanumeric() && bytes.iter().all(|c| allowed(*c));
        if !wellformed {
            let hint = if text.starts_with("oci:") || text.contains('/') {
                "the store is named apart from the task here: --store STORE"
            } else {
                "a task ID starts with a letter or digit; letters, digits, '.', '_' and '-' follow, 128 at most"
            };
            return Err(usage(format!("{text:?} is not a task ID")).hint(hint));
        }
        if Self::is_reserved(text) {
            return Err(usage(format!("{text:?} is a name that stores use themselves"))
                .hint("task IDs do not start with id-, sha256- or cache-; index-v1 and spending-v1 are taken, and so are image- and claim- before a digest"));
        }
        Ok(TaskId(text.to_owned()))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(TaskId);

/// A full git object name: 40 lower-case hexadecimal digits (SHA-1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough digits for a person to recognise.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Commit {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.len() == 64 && crate::digest::unhex::<32>(text).is_some() {
            return Err(usage("repositories with SHA-256 object names are not supported"));
        }
        match crate::digest::unhex::<20>(text) {
            Some(_) => Ok(Commit(text.to_owned())),
            None => Err(integrity(format!("{text:?} is not a full commit hash"))),
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Commit);

/// An image pinned by digest: `store@sha256:...` when it travels in the same
/// store as the identity, `registry/name@sha256:...` otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// The repository on a registry; `None` for the identity's own store.
    pub repository: Option<String>,
    /// The platform manifest's digest.
    pub digest: Digest,
}

impl FromStr for ImageRef {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (name, digest) = text.split_once('@').ok_or_else(|| integrity(format!("image {text:?} has no digest")))?;
        let digest = digest.parse()?;
        if name == "store" {
            return Ok(ImageRef { repository: None, digest });
        }
        check_repository(name)?;
        Ok(ImageRef { repository: Some(name.to_owned()), digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository.as_deref().unwrap_or("store"), self.digest)
    }
}

serde_as_text!(ImageRef);

// Lines of a task: what is published from where nobody has seen what the task is by
// now goes beside it, under a tag of its own.

/// The tag that says that a task has other lines: `id-beside-` and digits of a
/// hash of the task's ID. What it points at says nothing. Whoever knows nothing of
/// lines takes it, and theirs, for no task.
pub fn lines_tag(task: &TaskId) -> String {
    format!("{LINE}{}", &Digest::of(task.as_str().as_bytes()).hex()[..40])
}

/// The tag of the line that begins with this identity: no two publishers have the
/// same, so that none goes over another.
pub fn line_tag(task: &TaskId, identity: &Digest) -> String {
    format!("{}-{}", lines_tag(task), &identity.hex()[..32])
}

/// Whether a tag is that of a line of this task.
pub fn is_line_of(tag: &str, task: &TaskId) -> bool {
    tag.strip_prefix(&lines_tag(task)).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether a tag is of a line of any task.
pub fn is_line(tag: &str) -> bool {
    tag.starts_with(LINE)
}

/// The name under which a foreign file, or a folder, may lie outside of a sandbox:
/// its own where that is one plain name which nothing obeys, otherwise one that
/// begins with `artifact-`. Every such name goes through here.
pub fn outside_name(name: &[u8]) -> String {
    let plain = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
    if let Some(name) = plain.filter(|name| is_harmless(name)) {
        return name.to_owned();
    }
    let prefixed = plain.map(|name| format!("{HARMLESS}{name}")).filter(|name| is_harmless(name));
    prefixed.unwrap_or_else(|| format!("{HARMLESS}{}", Digest::of(name).short()))
}

/// Whether a name is one part of a path for whatever reads it, all of it is seen,
/// and neither shells, programs that look for hidden files nor git make anything
/// of it. Without a `HEAD` no folder is a repository, whatever else is in it.
fn is_harmless(name: &str) -> bool {
    // NTFS drops trailing dots and spaces, and `name:stream` names `name`.
    let folded = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with(['.', '-'])
        && !name.contains(['/', '\\'])
        && name.chars().all(is_for_names)
        && visible::seen(name).all(|(_, shows)| shows)
        && check_entry_name(name.as_bytes(), false).is_ok()
        && !folded.eq_ignore_ascii_case("HEAD")
}

/// Checks `host[:port]/name` by the grammar of the OCI distribution
/// specification. The host must be recognisable as one.
pub(super) fn check_repository(text: &str) -> Result<(), Fault> {
    let bad = || {
        let hint = if text.starts_with(['/', '.', '~']) {
            format!("a folder is written oci:PATH, here: oci:{text}")
        } else if text.contains('/') && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            format!("names on a registry are in lower case: {}", text.to_ascii_lowercase())
        } else {
            "write host/name or host:port/name, as in docker.io/library/debian; a folder is written oci:PATH".to_owned()
        };
        usage(format!("{text:?} is not a repository on a registry")).hint(hint)
    };
    let (host, name) = text.split_once('/').ok_or_else(bad)?;
    let (domain, port) = host.split_once(':').map_or((host, None), |(domain, port)| (domain, Some(port)));
    let domain_ok = !domain.is_empty()
        && (domain == "localhost" || domain.contains('.') || port.is_some())
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        });
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name_ok = text.len() <= 255
        && name.split('/').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
                && !part.contains("..")
        });
    if domain_ok && port_ok && name_ok { Ok(()) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn task_ids() {
        for good in ["a", "task-xyz789", "A.b_c-9", "image-upload-fix", "claim-form", "index-v10", &"x".repeat(128)] {
            assert_eq!(good.parse::<TaskId>().unwrap().as_str(), good);
        }
        let own = ["image", "claim"].map(|kind| format!("{kind}-{}", Digest::of(b"").hex()));
        let long = "x".repeat(129);
        let reserved = ["id-1", "sha256-0", "cache-x", "index-v1", &own[0], &own[1]];
        for bad in ["", "-a", ".a", "a/b", "a b", "a\n", "ä", &long].into_iter().chain(reserved) {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn commits() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(good.parse::<Commit>().unwrap().short(), "0123456789");
        for bad in ["", "HEAD", &good[1..], &good.to_uppercase(), &good.repeat(2)[..64], "-".repeat(40).as_str()] {
            assert!(bad.parse::<Commit>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn images_are_pinned() {
        let digest = Digest::of(b"x");
        for good in [format!("store@{digest}"), format!("r.example:5000/a/b@{digest}")] {
            assert_eq!(good.parse::<ImageRef>().unwrap().to_string(), good);
        }
        for bad in [format!("debian@{digest}"), "r.example/a:tag".into(), format!("r.example/../b@{digest}")] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_has_a_tag_that_is_no_task() {
        let task: TaskId = "t".repeat(128).parse().unwrap();
        let tag = line_tag(&task, &Digest::of(b"x"));
        assert!(TaskId::is_reserved(&tag) && is_line(&tag) && tag.len() <= 128);
        assert!(is_line_of(&tag, &task) && !is_line_of(&tag, &"t".parse().unwrap()));
        assert!(is_line(&lines_tag(&task)) && !is_line_of(&lines_tag(&task), &task));
        assert_ne!(tag, line_tag(&task, &Digest::of(b"y")));
    }

    #[test]
    fn case_26_foreign_names_that_would_be_obeyed_are_replaced() {
        for good in
            ["unit.xml", "a b", "ünïcode", "a..b", "head", "HEAD.txt", "config", "git", "x.git", &"x".repeat(200)]
        {
            let expected = if good == "head" { "artifact-head" } else { good };
            assert_eq!(outside_name(good.as_bytes()), expected);
        }
        for kept in [".git", ".GIT", ".bashrc", "-rf", "HEAD", "Head.", "HEAD::$DATA", "git~1", "GIT~1", "..", "."] {
            assert_eq!(outside_name(kept.as_bytes()), format!("artifact-{kept}"));
        }
        let long = "x".repeat(201);
        for bad in
            ["", "a/b", "../x", "a\\b", "a\nb", "a\0b", "a\u{202e}b", "a\u{ad}b", "a\u{e0041}", "a\u{3000}b", &long]
        {
            let name = outside_name(bad.as_bytes());
            assert!(name.len() == 21 && name.starts_with("artifact-"), "{bad:?}: {name}");
        }
        assert_ne!(outside_name(b"a/b"), outside_name(b"a/c"));
        assert!(outside_name(b"\xff.xml").starts_with("artifact-"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn case_47_a_foreign_name_is_one_harmless_name(
            name in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                r"[. \-]{0,2}(g|G)\u{200c}?(i|I)\u{feff}?t(~[0-9])?[. :]{0,2}".prop_map(String::into_bytes),
                "(?i)[. ]{0,2}head[. :]{0,2}".prop_map(String::into_bytes),
            ],
        ) {
            let chosen = outside_name(&name);
            prop_assert!(is_harmless(&chosen), "{:?}", chosen);
            prop_assert!(!chosen.starts_with(['.', '-']) && !chosen.contains(['/', '\\', '\0']));
            prop_assert!(chosen.chars().all(crate::visible::is_visible));
            prop_assert!(check_entry_name(chosen.as_bytes(), false).is_ok());
            prop_assert_eq!(outside_name(chosen.as_bytes()), chosen);
        }
    }

    proptest! {
        #[test]
        fn task_id_parsing_agrees_with_the_grammar(text in "[A-Za-z0-9._/ -]{0,6}") {
            let grammar = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains(['/', ' ']);
            prop_assert_eq!(text.parse::<TaskId>().is_ok(), grammar && !text.starts_with("id-"));
        }
    }
}
