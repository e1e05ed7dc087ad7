//! What must not travel is found before anything is stored: credentials in
//! files, in the index, in unpushed commits and in what the publisher says.
//!
//! The captured objects are looked at, not the files: what was looked at is
//! what travels. Whatever the base has already is passed over.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use serde::Serialize;

use super::secrets;
use crate::config::Project;
use crate::credentials::{Finding, Fingerprint, Gap, Looked, Scanner};
use crate::error::{Detail, Fault, of_thread, policy};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::words::by_reason;
use crate::identity::{Handoff, Instead, Redacted};
use crate::snapshot::{self, ContentPlace, Draft, DraftContent, GitPath, LeaveOut, Reader};

/// More files than this are not left out one by one: the identity names them.
const MAX_REDACTED: usize = 500;

/// A file that was not searched in full.
#[derive(Clone, Debug, Serialize)]
pub struct Unsearched {
    /// The file.
    pub file: String,
    /// Why.
    pub why: Gap,
}

/// What is left to say about a draft that may travel.
#[derive(Debug, Default)]
pub(crate) struct Screened {
    pub(crate) redacted: Vec<Redacted>,
    pub(crate) unsearched: Vec<Unsearched>,
}

/// A credential, and where it would travel.
struct Hit {
    /// `None` for what is in no file.
    place: Option<ContentPlace>,
    path: GitPath,
    /// Of what is in no file: where it is.
    what: String,
    finding: Finding,
}

/// The scanner for a project's tasks.
///
/// # Errors
/// When the values cannot be looked for, or the allow list is malformed.
pub(crate) fn scanner(app: &App, project: &Project) -> Result<Scanner> {
    let known = secrets::known(app, &project.runtime.secrets);
    let allowed = project.snapshot.allow.iter().map(|text| text.parse::<Fingerprint>());
    Ok(Scanner::new(&known, allowed.collect::<Result<Vec<_>, _>>()?)?)
}

/// How files that are attached are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Screen<'a> {
    pub(crate) scanner: &'a Scanner,
    /// Leave files with credentials out, instead of refusing.
    pub(crate) redact: bool,
    /// The checkout: paths are named, and allowed, from here.
    pub(crate) root: &'a Path,
}

impl Screen<'_> {
    /// Looks at one file.
    ///
    /// # Errors
    /// When the rules cannot be read.
    pub(crate) fn look(self, path: &Path, content: &[u8]) -> Result<Looked> {
        Ok(self.scanner.file(&self.name(path).to_string_lossy(), content)?)
    }

    /// Looks at one file of any size.
    ///
    /// # Errors
    /// When it cannot be read, or the rules cannot.
    pub(crate) fn look_through(self, path: &Path, content: &mut dyn Read) -> Result<Looked> {
        let name = self.name(path).to_string_lossy();
        let mut looking = self.scanner.looking(&name);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(looking.finish()?),
                count => looking.see(&buffer[..count]),
            }
        }
    }

    fn name(self, path: &Path) -> &Path {
        path.strip_prefix(self.root).unwrap_or(path)
    }

    /// Refuses files in which a credential was found, or leaves them out and
    /// says so.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] with all that was found.
    pub(crate) fn settle_artifacts<T>(
        self,
        app: &App,
        files: Vec<T>,
        looked: impl Fn(&T) -> (PathBuf, Looked),
    ) -> Result<Vec<T>> {
        let (mut kept, mut hits) = (Vec::new(), Vec::new());
        let (mut gaps, mut refused) = (Vec::new(), Vec::new());
        for file in files {
            let (path, looked) = looked(&file);
            gaps.extend(looked.gap.map(|gap| (path.display().to_string(), gap.why().to_string())));
            match looked.findings.first() {
                None => kept.push(file),
                Some(found) if self.redact => {
                    refused.push((path.display().to_string(), format!("({})", found.rule)));
                }
                Some(_) => hits.extend(hits_in(self.name(&path), &looked)),
            }
        }
        by_reason(gaps).iter().for_each(|line| app.ui.warn(line));
        by_reason(refused).iter().for_each(|line| app.ui.warn(&format!("not attached: {line}")));
        if hits.is_empty() { Ok(kept) } else { Err(refusal(&hits, false).into()) }
    }

    /// Refuses files that an image could hold: they are left out by a list of the
    /// project's own, and not by envctl.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] with all that was found.
    pub(crate) fn settle_context(self, app: &App, looked: Vec<(PathBuf, Looked)>) -> Result<(), Fault> {
        for (path, gap) in looked.iter().filter_map(|(path, looked)| Some((path, looked.gap?))) {
            app.ui.warn(&format!("{} {}", path.display(), gap.why()));
        }
        let hits: Vec<Hit> = looked.iter().flat_map(|(path, looked)| hits_in(path, looked)).collect();
        if hits.is_empty() {
            return Ok(());
        }
        Err(policy("the image could hold a credential, and would travel with this task")
            .details(hits.iter().map(detail).collect())
            .hint(
                "list the files in .dockerignore; a false alarm is allowed by its fingerprint: \
                 [snapshot] allow = [\"...\"] in envctl.toml",
            ))
    }

    /// Refuses a file that was read again.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn check_artifact(self, path: &Path, looked: &Looked) -> Result<()> {
        if looked.findings.is_empty() { Ok(()) } else { Err(refusal(&hits_in(self.name(path), looked), false).into()) }
    }
}

fn hits_in(path: &Path, looked: &Looked) -> Vec<Hit> {
    let hit = |finding: &Finding| Hit {
        place: Some(ContentPlace::Working),
        path: GitPath(path.as_os_str().as_bytes().to_vec()),
        what: String::new(),
        finding: finding.clone(),
    };
    looked.findings.iter().map(hit).collect()
}

/// What a look at a draft found.
pub(crate) struct Findings {
    hits: Vec<Hit>,
    unsearched: Vec<Unsearched>,
}

/// Decides on what was found. With `redact`, working files and staged ones
/// that hold credentials are taken out of the draft.
///
/// # Errors
/// [`crate::error::Kind::Policy`] with all that was found.
pub(crate) fn settle(app: &App, found: Findings, draft: &mut Draft, redact: bool) -> Result<Screened> {
    let Findings { mut hits, unsearched } = found;
    let gaps = unsearched.iter().map(|one| (one.file.to_string(), one.why.why().to_string()));
    by_reason(gaps).iter().for_each(|line| app.ui.warn(line));
    let mut redacted = Vec::new();
    if redact {
        let (files, others): (Vec<Hit>, Vec<Hit>) =
            hits.into_iter().partition(|hit| matches!(hit.place, Some(ContentPlace::Working | ContentPlace::Index)));
        hits = others;
        if hits.is_empty() {
            redacted = leave_out(draft, &files)?;
        } else {
            hits.extend(files);
        }
    }
    if hits.is_empty() { Ok(Screened { redacted, unsearched }) } else { Err(refusal(&hits, redact).into()) }
}

/// Looks at what the publisher says.
///
/// # Errors
/// [`crate::error::Kind::Policy`]: nothing of it is ever left out.
pub(crate) fn screen_words(scanner: &Scanner, handoff: &Handoff, agent: Option<&str>) -> Result<()> {
    let said = [("message", handoff.message.as_deref()), ("command", handoff.command.as_deref()), ("agent", agent)];
    let mut hits = Vec::new();
    for (what, words) in said.into_iter().filter_map(|(what, words)| Some((what, words?))) {
        hits.extend(scanner.text(what, words.as_bytes())?.into_iter().map(|finding| hit_in(what, finding)));
    }
    if hits.is_empty() { Ok(()) } else { Err(refusal(&hits, false).into()) }
}

/// Looks for known values in a document: they could be part of any name.
///
/// # Errors
/// [`crate::error::Kind::Policy`].
pub(crate) fn screen_document(scanner: &Scanner, what: &str, bytes: &[u8]) -> Result<()> {
    let found = scanner.values(what, bytes).into_iter();
    let hits: Vec<Hit> = found.map(|finding| hit_in(what, Finding { line: None, ..finding })).collect();
    if hits.is_empty() { Ok(()) } else { Err(refusal(&hits, false).into()) }
}

fn hit_in(what: &str, finding: Finding) -> Hit {
    Hit { place: None, path: GitPath(Vec::new()), what: what.to_owned(), finding }
}

/// Looks at everything that would travel.
///
/// # Errors
/// When what was captured cannot be read.
pub(crate) fn look(scanner: &Scanner, git: &Git, draft: &Draft) -> Result<Findings> {
    let reader = &draft.reader(git)?;
    let contents = reader.contents()?;
    let mut places: HashMap<(&[u8], [u8; 20]), usize> = HashMap::new();
    let mut once: Vec<&DraftContent> = Vec::new();
    for content in &contents {
        places.entry(content.key()).or_insert_with(|| {
            once.push(content);
            once.len() - 1
        });
    }
    let looked = look_at(scanner, git, draft, &once)?;
    let mut unsearched: BTreeMap<String, Gap> = BTreeMap::new();
    let mut hits = Vec::new();
    for content in &contents {
        let Some(found) = places.get(&content.key()).and_then(|n| looked.get(*n)) else { continue };
        if let Some(gap) = found.gap {
            unsearched.insert(content.path.to_string(), gap);
        }
        hits.extend(found.findings.iter().map(|finding| Hit {
            place: Some(content.place.clone()),
            path: content.path.clone(),
            what: String::new(),
            finding: finding.clone(),
        }));
    }
    hits.extend(in_names(scanner, reader, &contents)?);
    for said in reader.commits()? {
        let name = "commit message";
        let mut found = scanner.text(name, &said.words)?;
        found.extend(scanner.values(name, &said.everything));
        found.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        let what = format!("the message of commit {}", said.commit.short());
        let place = Some(ContentPlace::Commit(said.commit));
        hits.extend(found.into_iter().map(|finding| Hit { place: place.clone(), ..hit_in(&what, finding) }));
    }
    for (what, text) in reader.notes()? {
        hits.extend(scanner.text(&what, &text)?.into_iter().map(|finding| hit_in(&what, finding)));
    }
    let unsearched = unsearched.into_iter().map(|(file, why)| Unsearched { file, why }).collect();
    Ok(Findings { hits, unsearched })
}

/// Contents that are worth a thread.
const A_SHARE: usize = 128;

/// Looks at each content, on all processors where there are many.
fn look_at(scanner: &Scanner, git: &Git, draft: &Draft, contents: &[&DraftContent]) -> Result<Vec<Looked>> {
    let most = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let workers = contents.len().div_ceil(A_SHARE).clamp(1, most);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Looked)>> {
        let reader = draft.reader(git)?;
        let mut looked = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(content) = contents.get(n) else { return Ok(looked) };
            looked.push((n, what_is_new(scanner, &reader, content)?));
        }
    };
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let own = work();
        let who = "a thread that looks for credentials";
        let others = threads.into_iter().map(|thread| of_thread(thread.join(), who)?);
        others.chain([own]).collect::<Result<Vec<_>>>()
    })?;
    let mut looked: Vec<_> = parts.into_iter().flatten().collect();
    looked.sort_unstable_by_key(|(n, _)| *n);
    Ok(looked.into_iter().map(|(_, looked)| looked).collect())
}

/// Names of files that the base lacks. They are not shown: a value may be
/// spelled in them in a way that nothing hides.
fn in_names(scanner: &Scanner, reader: &Reader<'_>, contents: &[DraftContent]) -> Result<Vec<Hit>> {
    let paths: BTreeSet<&GitPath> = contents.iter().map(|content| &content.path).collect();
    let mut hits = Vec::new();
    for path in paths {
        let found = scanner.text("file name", &path.0)?;
        if !found.is_empty() && reader.in_base(path)?.is_none() {
            hits.extend(
                found.into_iter().map(|finding| hit_in("the name of a file", Finding { line: None, ..finding })),
            );
        }
    }
    Ok(hits)
}

/// What of a content is new: the base has neither the content, nor the same
/// secrets in the same file. A file that is found by its name stays found:
/// what is in it may be new.
fn what_is_new(scanner: &Scanner, reader: &Reader<'_>, content: &DraftContent) -> Result<Looked> {
    let path = content.path.to_string();
    let mut looking = scanner.looking(&path);
    reader.read(content, &mut |part| looking.see(part))?;
    let mut found = looking.finish()?;
    if found.findings.is_empty() {
        return Ok(found);
    }
    if reader.is_held(content)? {
        return Ok(Looked::default());
    }
    if let Some(before) = reader.in_base(&content.path)? {
        let old = scanner.file(&path, &before)?.findings;
        let is_old = |new: &Finding| !new.by_name && old.iter().any(|old| old.fingerprint == new.fingerprint);
        found.findings.retain(|finding| !is_old(finding));
    }
    Ok(found)
}

fn leave_out(draft: &mut Draft, hits: &[Hit]) -> Result<Vec<Redacted>> {
    let mut files: BTreeMap<GitPath, (LeaveOut, Vec<String>)> = BTreeMap::new();
    for hit in hits {
        let (left, rules) = files.entry(hit.path.clone()).or_default();
        left.working |= hit.place == Some(ContentPlace::Working);
        left.index |= hit.place == Some(ContentPlace::Index);
        if !rules.contains(&hit.finding.rule) {
            rules.push(hit.finding.rule.clone());
        }
    }
    if files.len() > MAX_REDACTED {
        return Err(policy(format!("{} files hold credentials, too many to leave out one by one", files.len()))
            .hint("list their folder in .gitignore or under [snapshot] exclude, then publish again")
            .into());
    }
    let left = files.iter().map(|(path, (left, _))| (path.clone(), *left)).collect();
    let instead = draft.leave_out(&left)?;
    let redacted = files.into_iter().zip(instead).map(|((path, (_, rules)), instead)| Redacted {
        path: path.to_string(),
        rules,
        instead: match instead {
            snapshot::DraftInstead::Nothing => Instead::Nothing,
            snapshot::DraftInstead::Head => Instead::Committed,
            snapshot::DraftInstead::Staged => Instead::Staged,
        },
    });
    Ok(redacted.collect())
}

/// All that was found, with the way out of each kind.
fn refusal(hits: &[Hit], redact: bool) -> Fault {
    let is = |place: fn(&Option<ContentPlace>) -> bool| hits.iter().any(|hit| place(&hit.place));
    let mut ways = Vec::new();
    if is(|place| matches!(place, Some(ContentPlace::Commit(_)))) {
        ways.push("rewrite the commits that hold a credential (git commit --amend, git rebase -i), and replace it if they were ever pushed");
    }
    if is(|place| matches!(place, Some(ContentPlace::Conflict))) {
        ways.push("resolve the conflict without the credential");
    }
    if is(Option::is_none) {
        ways.push("say it without the credential");
    }
    if is(|place| matches!(place, Some(ContentPlace::Working | ContentPlace::Index))) {
        ways.push(match redact {
            true => "then --redact leaves the other files out",
            false => "take it out of the files, list them in .gitignore, or leave them out with --redact",
        });
    }
    ways.push("a false alarm is allowed by its fingerprint: [snapshot] allow = [\"...\"] in envctl.toml");
    // Several rules may find one, and it may be in several places.
    let places: BTreeSet<_> = hits.iter().map(|hit| (&hit.path, &hit.what, hit.finding.line)).collect();
    let message = match places.len() {
        1 => "a credential would travel with this task".to_owned(),
        many => format!("{many} credentials would travel with this task"),
    };
    policy(message).details(hits.iter().map(detail).collect()).hint(ways.join("; "))
}

fn detail(hit: &Hit) -> Detail {
    let finding = &hit.finding;
    let in_file = !hit.path.0.is_empty();
    let (place, commit) = match &hit.place {
        None => (hit.what.as_str(), None),
        Some(ContentPlace::Working) => ("working-file", None),
        Some(ContentPlace::Index) => ("index", None),
        Some(ContentPlace::Conflict) => ("conflict", None),
        Some(ContentPlace::Commit(id)) => (if in_file { "commit" } else { "commit-message" }, Some(id)),
    };
    let name = if in_file { hit.path.to_string() } else { hit.what.clone() };
    let line = finding.line.map_or_else(String::new, |line| format!(":{line}"));
    let whence = match &hit.place {
        Some(ContentPlace::Index) => " (staged)".to_owned(),
        Some(ContentPlace::Conflict) => " (in a conflict)".to_owned(),
        Some(ContentPlace::Commit(id)) if in_file => format!(" (in commit {})", id.short()),
        _ => String::new(),
    };
    Detail {
        text: format!("{name}{line}{whence}: {}, fingerprint {}", finding.rule, finding.fingerprint),
        data: serde_json::json!({
            "file": in_file.then(|| hit.path.to_string()),
            "line": finding.line,
            "rule": finding.rule,
            "fingerprint": finding.fingerprint,
            "place": place,
            "commit": commit,
        }),
    }
}
