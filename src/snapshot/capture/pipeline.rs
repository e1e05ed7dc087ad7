//! Taking a snapshot. Needs the checkout and the git program, no privilege,
//! and writes nothing into the checkout.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::draft::Draft;
use super::prove;
use super::settings;
use crate::digest::Digest;
use crate::error::{of_thread, policy};
use crate::git::Git;
use crate::snapshot::checkout::damaged::explained;
use crate::snapshot::checkout::moment::{self, Moment, Stood};
use crate::snapshot::checkout::refuse;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::checkout::status::Selection;
use crate::snapshot::format::document::{
    Document, FileMode, GitPath, IndexDocument, IndexEntry, LocalBranch, Object, Pack, SCHEMA,
};
use crate::snapshot::format::index::{self, Entry};
use crate::snapshot::format::left_behind::{LeftKind, LeftOut, lossy};
use crate::snapshot::lfs::capture::StoredLfs;
use crate::snapshot::operation::{Operation, comment};
use crate::snapshot::restore::pack;
use crate::snapshot::submodule;
use crate::snapshot::tree::attributes::Conversions;
use crate::snapshot::upstream::history::{CommitHistory, Position, commit, followed_branch, history, is_branch_name};
use crate::snapshot::upstream::left_out;
use crate::snapshot::wire::Verbatim;
use crate::snapshot::worktree::scan::{Scan, scan};
use crate::snapshot::worktree::verbatim::{self};

/// More of what stays behind is not told to those who enter, of one kind and in all.
const MOST_OF_A_KIND: usize = 50;
const MOST_LEFT_OUT: usize = 400;

/// What a project asks of a capture.
#[derive(Clone, Debug, Default)]
pub struct CaptureOptions {
    /// Ignored files to carry nevertheless, as git pathspecs.
    pub include: Vec<String>,
    /// Untracked files to leave, as gitignore patterns.
    pub exclude: Vec<String>,
    /// The most that contents of LFS files may have together, in bytes.
    pub max_lfs: u64,
    /// It stays on this machine: no remote need hold a commit to go on from.
    pub stays: bool,
}

impl CaptureOptions {
    fn selection(&self) -> Selection<'_> {
        Selection { include: &self.include, named: &[], max_lfs: self.max_lfs, leaves: !self.stays }
    }
}

/// A snapshot that was taken; its pack lives as long as this value.
#[derive(Debug)]
pub struct Captured {
    /// The document.
    pub document: Document,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The pack's file, where there is one.
    pub pack: Option<PathBuf>,
    /// Files that differ from HEAD.
    pub changed_files: usize,
    /// Commits that the remote lacks.
    pub unpushed: usize,
    /// What does not travel although somebody may miss it.
    pub left_out: Vec<LeftOut>,
    _scratch: ScratchRepo,
}

impl Captured {
    /// The snapshot ID.
    pub fn id(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Takes a checkout's state; nothing of it is packed yet.
///
/// # Errors
/// Whatever cannot be carried is refused by name.
pub fn capture(git: &Git, repo: &git2::Repository, options: &CaptureOptions) -> Result<Draft> {
    Ok(capture_and(git, repo, options, &|_| Ok(()))?.0)
}

/// The same, and what `meanwhile` makes of it while it is seen whether the checkout
/// stood still.
///
/// # Errors
/// As [`capture()`], and those of `meanwhile`.
pub fn capture_and<T>(
    git: &Git,
    repo: &git2::Repository,
    options: &CaptureOptions,
    meanwhile: &dyn Fn(&Draft) -> Result<T>,
) -> Result<(Draft, T)> {
    let settled = moment::settled(|| {
        let moment = match Moment::now(repo) {
            Ok(moment) => moment,
            // In the midst of a command of git, files are missing that are there in a moment.
            Err(error) => return (Err(error), if Moment::now(repo).is_err() { Stood::Still } else { Stood::Moved }),
        };
        let draft = match draft_of(git, repo, options, &moment) {
            Ok(draft) => draft,
            Err(error) => {
                let stood = Stood::after(&error, &moment, repo);
                return (Err(error), stood);
            }
        };
        let folder = repo.path().to_owned();
        let (made, looked) = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let proof = prove::index(&draft, &index_document(&draft.scan, draft.digest));
                let stood = draft.scan.stood(&draft.scratch);
                (if moment.is_untouched(&folder) { stood } else { Stood::Moved }, proof)
            });
            (meanwhile(&draft), looking.join())
        });
        let (stood, proof) =
            of_thread(looked, "the thread that looks").unwrap_or_else(|died| (Stood::Still, Err(died.into())));
        let stood = if moment.lasts(repo, Some(draft.digest)) { stood } else { Stood::Moved };
        (proof.and(made).map(|made| (Draft { proved: true, ..draft }, made)), stood)
    });
    settled.map_err(|error| explained(error, repo))
}

/// The state at this moment, if it lasts.
fn draft_of(git: &Git, repo: &git2::Repository, options: &CaptureOptions, moment: &Moment) -> Result<Draft> {
    let (mut operation, staying) = moment.operation.parts();
    let head_commit = repo.find_commit(moment.commit)?;
    let (branch, stray) = branch_of(repo, &moment.head);
    let mut settings = settings::in_force(git, repo)?;
    if operation.is_some() {
        settings.comment = comment(repo)?.filter(|text| text != "#");
    }
    let scratch = ScratchRepo::new(repo, head_commit.id(), &settings, &options.exclude)?;
    let home = branch.clone().or_else(|| operation.as_ref().and_then(Operation::branch));
    let follows = followed_branch(repo, home.as_deref())?;
    let others = beside_head(operation.as_ref(), follows.as_ref())?;
    let position = Position {
        head: &head_commit,
        branch: home.as_deref(),
        follows: follows.as_ref().map(|follows| &*follows.name),
        others: &others,
        stays: options.stays,
    };
    let selection = options.selection();
    let (mut scan, aside) =
        scan((&scratch, repo), git, selection, |index, asked| aside(repo, &scratch, position, index, asked))?;
    let Aside { history, digest, mut left_out, asked, candidates } = aside;
    add_verbatim((&scratch, git), &mut scan, asked, candidates)?;
    check_submodules(git, &scratch, &scan, head_commit.tree_id())?;
    if !scan.in_conflict() {
        operation = operation.and_then(Operation::without_tree);
    }
    let plain = |kind| move |name: &String| LeftOut::plain(kind, name.as_bytes());
    left_out.extend(left_by_scan(&scan));
    left_out.extend(history.lost_upstream.as_ref().map(plain(LeftKind::Upstream)));
    left_out.extend(staying.map(LeftOut::operation));
    left_out.extend(settings::left_behind(git, repo, &scratch, &scan)?);
    left_out.extend(stray.as_ref().map(plain(LeftKind::Head)));
    let (head, head_tree) = (head_commit.id(), head_commit.tree_id());
    let empty_folders = std::mem::take(&mut scan.walked).empty;
    let stored = scan.beside.lfs.take();
    let mut draft = Draft {
        scan,
        history,
        empty_folders,
        digest,
        head,
        head_tree,
        branch,
        settings,
        operation,
        others,
        follows,
        lfs: Vec::new(),
        left_out,
        scratch,
        proved: false,
    };
    if let Some(stored) = stored {
        gather_lfs(&mut draft, stored, git, repo)?;
    }
    prove::files(git, &draft)?;
    Ok(draft)
}

/// Commits that travel beside HEAD's.
fn beside_head(operation: Option<&Operation>, follows: Option<&LocalBranch>) -> Result<Vec<git2::Oid>> {
    let mut commits = operation.map_or_else(Vec::new, Operation::names);
    let followed = follows.and_then(|follows| follows.commit.as_ref());
    commits.extend(followed.map(|commit| git2::Oid::from_str(commit.as_str())).transpose()?);
    Ok(commits)
}

/// Adds files that git would write differently, as they are. `asked` is what
/// attributes were known to ask for when the candidates were chosen.
fn add_verbatim(
    (scratch, git): (&ScratchRepo, &Git),
    scan: &mut Scan,
    asked: Conversions,
    mut candidates: Vec<verbatim::VerbatimCandidate>,
) -> Result<()> {
    if asked != scan.beside.asked {
        // Attributes that git does not track say more.
        candidates = verbatim::candidates(scratch, scan.beside.asked, &scan.index)?;
    }
    candidates.retain(|(entry, _)| !scan.read.contains_key(&entry.path));
    let suspects = verbatim::suspects(scratch, git, scan.beside.asked, candidates)?;
    let settled = verbatim::find_settled(scratch, git, scan.beside.asked, suspects)?;
    scan.beside.verbatim.extend(settled);
    Ok(())
}

/// What of the files does not travel although somebody may miss it.
fn left_by_scan(scan: &Scan) -> Vec<LeftOut> {
    let special = scan.walked.special.iter().map(|(path, kind)| LeftOut::special(path, kind));
    let plain = |kind: LeftKind, paths: &[Vec<u8>]| -> Vec<LeftOut> {
        paths.iter().map(|path| LeftOut::plain(kind, path)).collect()
    };
    special
        .chain(plain(LeftKind::Repository, &scan.walked.nested))
        .chain(scan.walked.strays.iter().map(|path| LeftOut::stray(path)))
        .chain(plain(LeftKind::TooLarge, &scan.staying.too_large))
        .chain(plain(LeftKind::Unreadable, &scan.walked.unreadable))
        .chain(plain(LeftKind::Unreadable, &scan.staying.unreadable))
        .chain(plain(LeftKind::Ignored, &scan.left_behind))
        .chain(plain(LeftKind::CountedAsChanged, &scan.counted))
        .chain(scan.env_files_left().map(|path| LeftOut::plain(LeftKind::EnvFile, path)))
        .collect()
}

/// Adds the contents of LFS files that the draft needs.
fn gather_lfs(draft: &mut Draft, stored: StoredLfs, git: &Git, repo: &git2::Repository) -> Result<()> {
    let (tip, loose) = draft.states()?;
    let wanted = std::iter::once(tip).chain(draft.others.iter().copied());
    let revisions = pack::revisions(wanted, &draft.history.tips);
    let (found, missing) = stored.gather(&draft.scratch, git, repo, &revisions, &loose)?;
    draft.left_out.extend(missing.iter().map(LeftOut::content));
    draft.lfs = found;
    Ok(())
}

/// The branch that HEAD is on; and what of that no task can say: that the ref is no
/// branch, or stands for another one.
fn branch_of(repo: &git2::Repository, head: &[u8]) -> (Option<String>, Option<String>) {
    let Some(name) = head.strip_prefix(b"ref:").map(<[u8]>::trim_ascii) else { return (None, None) };
    // A branch whose name is no UTF-8, or looks like an option, is one that no task
    // can say.
    let full = std::str::from_utf8(name).ok();
    let branch = full.and_then(|name| name.strip_prefix("refs/heads/")).filter(|name| is_branch_name(name));
    let Some(branch) = branch else { return (None, Some(lossy(name))) };
    let own = full.and_then(|name| repo.find_reference(name).ok());
    let other = own.and_then(|own| own.symbolic_target_bytes().map(lossy));
    (Some(branch.to_owned()), other.map(|other| format!("{branch}, which stands for {other}")))
}

/// The pack of a draft, where the remote does not hold everything.
#[derive(Debug)]
pub struct DraftPack(Option<(PathBuf, Pack)>);

impl Draft {
    /// What holds all trees, and objects that are in none of them.
    fn states(&self) -> Result<(git2::Oid, Vec<git2::Oid>)> {
        let scan = &self.scan;
        // With conflicts the index is no tree, and its objects travel by themselves.
        let (mut states, loose) = if scan.in_conflict() {
            (vec![scan.tree], staged_objects(scan))
        } else {
            (vec![scan.staged_tree, scan.tree], Vec::new())
        };
        states.extend(self.operation.as_ref().and_then(Operation::tree));
        Ok((pack::tie_all(&self.scratch, (self.head, self.head_tree), &states)?, loose))
    }

    /// Packs everything that the base lacks; anew after files were left out.
    ///
    /// # Errors
    /// When git cannot pack.
    pub fn pack(&self, git: &Git) -> Result<DraftPack> {
        let (tip, loose) = self.states()?;
        let beside = self.lfs.iter().map(|content| content.object.0).chain(self.scan.beside.verbatim.values().copied());
        let wanted = std::iter::once(tip).chain(self.others.iter().copied()).chain(loose).chain(beside);
        let revisions = pack::revisions(wanted, &[self.history.base]);
        let packed = pack::write(git, &self.scratch, &revisions, &self.stored()?)?;
        crate::snapshot::checkout::open::look_again(&self.scratch.work_tree)?;
        Ok(DraftPack(packed))
    }

    /// Contents that travel, of those that were stored here.
    fn stored(&self) -> Result<HashSet<git2::Oid>> {
        if self.scratch.contents.whole().is_empty() {
            return Ok(HashSet::new());
        }
        let own = git2::Repository::open_bare(self.scratch.path())?;
        let files = self.in_git(&own)?.into_iter().map(|content| content.object);
        let beside = self.scan.beside.verbatim.values().copied().chain(self.lfs.iter().map(|content| content.object.0));
        Ok(files.chain(beside).collect())
    }

    /// The document, with this pack.
    ///
    /// # Errors
    /// Never: every commit has a name.
    pub(in crate::snapshot) fn document(&self, pack: Option<Pack>) -> Result<Document> {
        let scan = &self.scan;
        let as_it_is =
            |(path, object): (&Vec<u8>, &git2::Oid)| Verbatim { path: GitPath(path.clone()), object: Object(*object) };
        let mut left_out = self.left_out.clone();
        // Of each kind the first few: many tags must not hide the one repository.
        let mut left_of_kind: HashMap<LeftKind, usize> = HashMap::new();
        left_out.retain(|left| {
            let count = left_of_kind.entry(left.kind).or_default();
            *count += 1;
            *count <= MOST_OF_A_KIND
        });
        left_out.truncate(MOST_LEFT_OUT);
        // What somebody wrote about it is theirs.
        left_out.iter_mut().for_each(|left| left.detail = None);
        Ok(Document {
            schema: SCHEMA,
            base: commit(self.history.base)?,
            head: commit(self.head)?,
            branch: self.branch.clone(),
            remote: self.history.remote.clone(),
            commits: self.history.commits.iter().map(|id| commit(*id)).collect::<Result<_>>()?,
            tree: Object(scan.tree),
            index: index_document(scan, self.digest),
            empty_folders: self.empty_folders.clone(),
            settings: self.settings.clone(),
            pack,
            operation: self.operation.clone(),
            lfs: self.lfs.clone(),
            verbatim: scan.beside.verbatim.iter().map(as_it_is).collect(),
            follows: self.follows.clone(),
            ignored: scan.ignored.clone(),
            left_out,
        })
    }

    /// Writes the document to the draft's last pack.
    ///
    /// # Errors
    /// When the document could not be read back.
    pub fn seal(self, packed: DraftPack) -> Result<Captured> {
        let (pack_path, pack) = packed.0.unzip();
        let document = self.document(pack)?;
        if !self.proved {
            prove::index(&self, &document.index)?;
        }
        refuse::paths(
            self.scan.index.iter().map(|entry| &*entry.path).chain(self.scan.read.keys().map(Vec::as_slice)),
        )?;
        let bytes = document.to_bytes()?;
        refuse::document(bytes.len() as u64)?;
        Document::parse(&bytes).context("this checkout holds something that no snapshot may carry")?;
        Ok(Captured {
            document,
            bytes,
            pack: pack_path,
            changed_files: self.scan.changed,
            unpushed: self.history.unpushed,
            left_out: self.left_out,
            _scratch: self.scratch,
        })
    }
}

/// What no `enter` would restore is refused here already.
fn check_submodules(git: &Git, scratch: &ScratchRepo, scan: &Scan, head: git2::Oid) -> Result<()> {
    if !scan.index.iter().any(Entry::is_submodule) {
        return Ok(());
    }
    let own = git2::Repository::open_bare(scratch.path())?;
    let in_conflict = scan.index.iter().filter(|entry| entry.stage > 0 && entry.path == b".gitmodules");
    submodule::check(git, &own, &[scan.tree, scan.staged_tree, head])
        .and_then(|()| in_conflict.into_iter().try_for_each(|entry| submodule::check_blob(git, &own, entry.object)))
        .map_err(|why| {
            why.context(policy("a submodule cannot be in a snapshot").hint("mend .gitmodules, then publish again"))
        })
}

/// What is found out while git looks at the files.
struct Aside {
    history: CommitHistory,
    /// The hash of the index.
    digest: Digest,
    left_out: Vec<LeftOut>,
    /// What tracked attributes ask for.
    asked: Conversions,
    /// Files that may not be what git would write.
    candidates: Vec<verbatim::VerbatimCandidate>,
}

fn aside(
    repo: &git2::Repository,
    scratch: &ScratchRepo,
    position: Position<'_>,
    entries: &[Entry],
    asked: Conversions,
) -> Result<Aside> {
    refuse::names(entries)?;
    let unpushed = submodule::look(repo.path(), scratch, entries)?;
    let history = history(repo, position)?;
    let mut left_out = left_out::stash(repo);
    left_out.extend(left_out::refs(repo, position)?);
    left_out.extend(left_out::notes_merge(repo)?);
    left_out.extend(unpushed.iter().map(LeftOut::submodule));
    let resolved = index::resolved(&scratch.path().join("index"));
    left_out.extend(resolved.iter().map(|path| LeftOut::plain(LeftKind::Resolved, path)));
    let candidates = verbatim::candidates(scratch, asked, entries)?;
    Ok(Aside { history, digest: index::hash(entries), left_out, asked, candidates })
}

/// Objects that only the index names. What merely has a flag is in HEAD's
/// tree; a partial clone may lack it.
fn staged_objects(scan: &Scan) -> Vec<git2::Oid> {
    let own = scan.index.iter().filter(|entry| entry.stage > 0 || scan.staged.contains(&entry.path));
    own.filter(|entry| !entry.intent_to_add && !entry.is_submodule()).map(|entry| entry.object).collect()
}

/// The index as its differences from HEAD's tree.
fn index_document(scan: &Scan, digest: Digest) -> IndexDocument {
    let present: HashSet<&[u8]> = scan.present.iter().map(Vec::as_slice).collect();
    let noted = |entry: &&Entry| {
        let flagged = entry.assume_unchanged || entry.skip_worktree || entry.intent_to_add;
        flagged || entry.stage > 0 || scan.staged.contains(&entry.path)
    };
    let entries: Vec<IndexEntry> = scan
        .index
        .iter()
        .filter(noted)
        .map(|entry| IndexEntry {
            path: GitPath(entry.path.clone()),
            mode: FileMode(entry.mode),
            object: Object(entry.object),
            stage: entry.stage,
            intent_to_add: entry.intent_to_add,
            skip_worktree: entry.skip_worktree,
            assume_unchanged: entry.assume_unchanged,
            present: present.contains(&*entry.path),
        })
        .collect();
    // A path in conflict has no stage 0, whatever the tree has there; and an
    // intent to add stands for itself.
    let named: HashSet<&[u8]> = entries.iter().map(|entry| &*entry.path.0).collect();
    let mut removed = scan.removed.clone();
    removed.retain(|path| !named.contains(&*path.0));
    IndexDocument { digest, entries, removed }
}
