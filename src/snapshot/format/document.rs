//! The snapshot document. Its sha256 is the snapshot ID. It names git objects;
//! the pack beside it carries those that the remote lacks.

use serde::{Deserialize, Serialize};

use super::left_behind::LeftOut;
use crate::digest::{Digest, content_size};
use crate::error::{Fault, integrity};
use crate::identity::{Commit, check_schema};
use crate::snapshot::operation::Operation;
pub use crate::snapshot::wire::{ByteText, FileMode, GitPath, Object};
use crate::snapshot::wire::{LfsObject, Verbatim};

/// The schema that this envctl writes and reads.
pub const SCHEMA: u32 = 1;
/// Upper bound for a snapshot document in bytes.
pub const MAX_DOCUMENT: u64 = 64 << 20;

/// The semantic state of a checkout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Newest ancestor of HEAD that the remote holds: all that a reader fetches.
    pub base: Commit,
    /// HEAD.
    pub head: Commit,
    /// The branch that HEAD is on; `None` when detached.
    pub branch: Option<String>,
    /// The remote's name and its tracking refs that matter.
    pub remote: Remote,
    /// Commits from HEAD down to the base, newest first.
    pub commits: Vec<Commit>,
    /// The tree of the working files.
    pub tree: Object,
    /// The index.
    pub index: IndexDocument,
    /// Folders without any file, ignored ones left out.
    pub empty_folders: Vec<GitPath>,
    /// Settings that decide how files are written.
    pub settings: Settings,
    /// The pack; `None` when the remote holds everything.
    pub pack: Option<Pack>,
    /// Operations that stopped halfway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Contents of LFS files that the remote may lack; they are in the pack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lfs: Vec<LfsObject>,
    /// Files that git would write in another form than they have; both
    /// contents are in the pack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbatim: Vec<Verbatim>,
    /// The local branch that HEAD's follows, where it follows none of the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<LocalBranch>,
    /// Files of the tree that git was told to ignore by rules which do not travel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<GitPath>,
    /// What stayed behind, for those who enter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A branch of the checkout itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBranch {
    /// Its short name.
    pub name: String,
    /// Where it was; `None` when it is gone, or is HEAD's own.
    pub commit: Option<Commit>,
}

/// The remote as the checkout knew it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// `origin`, mostly.
    pub name: String,
    /// The branch's upstream on it.
    pub upstream: Option<String>,
    /// Tracking refs below `refs/remotes/NAME/`, all held by the remote.
    pub refs: Vec<TrackingRef>,
}

/// One remote-tracking ref.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingRef {
    /// The branch on the remote.
    pub name: String,
    /// Where it was.
    pub commit: Commit,
}

/// The index as its differences from HEAD's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDocument {
    /// sha256 over the whole index, see [`super::index::hash`].
    pub digest: Digest,
    /// Entries that HEAD's tree does not have in this form.
    pub entries: Vec<IndexEntry>,
    /// Paths of HEAD's tree that are not in the index.
    pub removed: Vec<GitPath>,
}

/// One entry of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Path from the top of the checkout.
    pub path: GitPath,
    /// 0o100644, 0o100755, 0o120000 or 0o160000, in octal.
    pub mode: FileMode,
    /// The blob; of a submodule the commit.
    pub object: Object,
    /// 0, or 1 to 3 for a conflict.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stage: u8,
    /// `git add -N`
    #[serde(default, skip_serializing_if = "is_default")]
    pub intent_to_add: bool,
    /// Left out by a sparse checkout, or by hand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_worktree: bool,
    /// `git update-index --assume-unchanged`
    #[serde(default, skip_serializing_if = "is_default")]
    pub assume_unchanged: bool,
    /// A skip-worktree entry whose file was there nevertheless.
    #[serde(default, skip_serializing_if = "is_default")]
    pub present: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The few settings that travel, as data: never a name of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `core.autocrlf`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autocrlf: Option<AutoCrlf>,
    /// `core.eol`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eol: Option<Eol>,
    /// `core.fileMode`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<bool>,
    /// Patterns of a sparse checkout, with cone mode or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse: Option<Sparse>,
    /// The same where lines of text cannot say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse_file: Option<SparseFile>,
    /// `core.commentChar` or `core.commentString`, while something is in progress:
    /// git's messages about it have such comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The checkout's own attributes, `info/attributes`. Like those of a tree
    /// they name drivers and define none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<ByteText>,
}

/// `core.autocrlf`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoCrlf {
    /// Line ends are converted both ways.
    True,
    /// Line ends are converted on the way in.
    Input,
}

/// `core.eol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Eol {
    /// Text files have CRLF.
    Crlf,
    /// Text files have LF.
    Lf,
}

/// A sparse checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparse {
    /// `core.sparseCheckoutCone`
    pub cone: bool,
    /// The lines of `info/sparse-checkout`.
    pub patterns: Vec<String>,
}

/// A sparse checkout whose patterns are no text, or that has no file of them:
/// then git goes on as if it were not sparse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparseFile {
    /// `core.sparseCheckoutCone`
    pub cone: bool,
    /// The bytes of `info/sparse-checkout`; `None` when there is no such file.
    pub patterns: Option<ByteText>,
}

impl Settings {
    /// Notes that the checkout is sparse, with the bytes of its file of patterns.
    pub(in crate::snapshot) fn set_sparse(&mut self, cone: bool, file: Option<Vec<u8>>) {
        match file.map(String::from_utf8) {
            Some(Ok(text)) => {
                self.sparse = Some(Sparse { cone, patterns: text.lines().map(str::to_owned).collect() });
            }
            Some(Err(error)) => {
                self.sparse_file = Some(SparseFile { cone, patterns: Some(ByteText(error.into_bytes())) });
            }
            None => self.sparse_file = Some(SparseFile { cone, patterns: None }),
        }
    }

    /// Whether the checkout is sparse in cone mode or not, and the bytes of its
    /// file of patterns; `None` when it is not sparse.
    pub(in crate::snapshot) fn sparse(&self) -> Option<(bool, Option<Vec<u8>>)> {
        let text = self.sparse.as_ref().map(|sparse| (sparse.cone, Some((sparse.patterns.join("\n") + "\n").into())));
        let file = self.sparse_file.as_ref();
        text.or_else(|| file.map(|file| (file.cone, file.patterns.as_ref().map(|text| text.0.clone()))))
    }
}

/// The pack on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Of the pack's bytes.
    pub digest: Digest,
    /// In bytes.
    #[serde(deserialize_with = "content_size")]
    pub size: u64,
}

impl Document {
    /// Reads a document from its exact bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        check_schema(bytes, SCHEMA, "snapshot")?;
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| integrity(format!("the snapshot is malformed: {error}")))?;
        document.check()?;
        Ok(document)
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// Never for a value of this type; the signature is serde's.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self).map_err(|error| integrity(format!("the snapshot cannot be written: {error}")))
    }

    /// The branch whose upstream matters: HEAD's, or the one that an operation
    /// returns to.
    pub(in crate::snapshot) fn home(&self) -> Option<String> {
        self.branch.clone().or_else(|| self.operation.as_ref().and_then(Operation::branch))
    }

    /// Names that become refs, and paths that become files, before anything
    /// is made of them.
    fn check(&self) -> Result<(), Fault> {
        let ref_ok = |name: &str, prefix: &str| git2::Reference::is_valid_name(&format!("{prefix}{name}"));
        let refused =
            |what: &str, name: &str| Err(integrity(format!("the snapshot has the malformed {what} {name:?}")));
        if let Some(branch) = &self.branch
            && (!ref_ok(branch, "refs/heads/") || branch.starts_with('-'))
        {
            return refused("branch", branch);
        }
        if !git2::Remote::is_valid_name(&self.remote.name) || self.remote.name.starts_with('-') {
            return refused("remote", &self.remote.name);
        }
        if let Some(comment) =
            self.settings.comment.as_ref().filter(|text| !crate::snapshot::operation::is_comment(text))
        {
            return refused("comment", comment);
        }
        if let Some(follows) = &self.follows {
            let twice = follows.commit.is_some() && Some(&follows.name) == self.branch.as_ref();
            if twice || !ref_ok(&follows.name, "refs/heads/") || follows.name.starts_with('-') {
                return refused("branch to follow", &follows.name);
            }
        }
        for name in self.remote.refs.iter().map(|tracking| &tracking.name).chain(&self.remote.upstream) {
            if !ref_ok(name, &format!("refs/remotes/{}/", self.remote.name)) {
                return refused("tracking ref", name);
            }
        }
        let index = self.index.entries.iter().map(|entry| (&entry.path, entry.mode == FileMode::LINK));
        let others = self.index.removed.iter().chain(&self.empty_folders).chain(&self.ignored);
        let others = others.map(|path| (path, false));
        for (path, is_symlink) in index.chain(others) {
            for component in path.0.split(|byte| *byte == b'/') {
                crate::git::check_entry_name(component, is_symlink)?;
            }
        }
        if let Some(entry) = self.index.entries.iter().find(|entry| entry.stage > 3) {
            return refused("stage", &entry.stage.to_string());
        }
        let Some(operation) = &self.operation else { return Ok(()) };
        let own = self.branch.as_ref().map(|branch| format!("refs/heads/{branch}"));
        if let Some(twice) = operation.refs.iter().find(|reference| Some(&reference.name) == own.as_ref()) {
            return refused("ref, which is HEAD's own", &twice.name);
        }
        operation.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Document {
        let commit: Commit = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        Document {
            schema: SCHEMA,
            base: commit.clone(),
            head: commit.clone(),
            branch: Some("main".into()),
            remote: Remote { name: "origin".into(), upstream: None, refs: vec![] },
            commits: vec![commit],
            tree: Object(git2::Oid::ZERO_SHA1),
            index: IndexDocument { digest: Digest::of(b""), entries: vec![], removed: vec![] },
            empty_folders: vec![],
            settings: Settings::default(),
            pack: None,
            operation: None,
            lfs: vec![],
            verbatim: vec![],
            follows: None,
            ignored: vec![],
            left_out: vec![],
        }
    }

    proptest! {
        #[test]
        fn documents_round_trip(
            path in proptest::collection::vec(1u8..=255, 1..20),
            stage in 0u8..4,
            flags in any::<[bool; 4]>(),
            mode in proptest::sample::select(vec![0o100_644u32, 0o100_755, 0o120_000, 0o160_000]),
        ) {
            let mut document = sample();
            document.index.entries.push(IndexEntry {
                path: GitPath(path), mode: FileMode(mode), object: Object(git2::Oid::ZERO_SHA1), stage,
                intent_to_add: flags[0], skip_worktree: flags[1], assume_unchanged: flags[2], present: flags[3],
            });
            let bytes = document.to_bytes().unwrap();
            let back: Document = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&back, &document);
            prop_assert_eq!(back.to_bytes().unwrap(), bytes);
        }

        #[test]
        fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Document::parse(&bytes);
        }
    }

    #[test]
    fn case_42_hostile_names_in_a_snapshot_are_refused() {
        let local = |name: &str| Some(LocalBranch { name: name.into(), commit: None });
        let hostile: [&dyn Fn(&mut Document); 11] = [
            &|d| d.settings.comment = Some("a\nb".into()),
            &|d| d.branch = Some("../x".into()),
            &|d| d.branch = Some("-x".into()),
            &|d| d.remote.name = "a b".into(),
            &|d| d.remote.upstream = Some("x.lock".into()),
            &|d| d.empty_folders.push(GitPath(b"a/../b".to_vec())),
            &|d| d.index.removed.push(GitPath(b"a/.GIT/config".to_vec())),
            &|d| d.ignored.push(GitPath(b"../x".to_vec())),
            &|d| d.follows = local("../x"),
            &|d| d.follows = local("-x"),
            &|d| d.follows = Some(LocalBranch { name: "main".into(), commit: Some(d.head.clone()) }),
        ];
        for (n, change) in hostile.iter().enumerate() {
            let mut document = sample();
            change(&mut document);
            assert!(Document::parse(&document.to_bytes().unwrap()).is_err(), "case {n}");
        }
        assert!(Document::parse(&sample().to_bytes().unwrap()).is_ok());
    }
}
