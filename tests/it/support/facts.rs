//! What git itself says about a checkout, to compare one with another.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::repo::Repo;

/// Answers by question; bytes are escaped, so that a difference can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts(pub BTreeMap<&'static str, String>);

const QUESTIONS: [(&str, &[&str]); 8] = [
    ("status", &["status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z"]),
    ("diff", &["diff", "--binary", "--full-index"]),
    ("staged", &["diff", "--cached", "--binary", "--full-index"]),
    ("log", &["log", "--graph", "--oneline", "--no-decorate", "--no-abbrev-commit"]),
    ("index", &["ls-files", "--stage", "-v", "-z"]),
    ("upstream", &["for-each-ref", "--format=%(refname) %(upstream) %(upstream:track)", "refs/heads"]),
    ("head", &["rev-parse", "--symbolic-full-name", "HEAD"]),
    ("told", &["status", "--long"]),
];

/// The others are git's own book-keeping.
const ENTRY_FLAGS: u32 = 0x6000_8000;

impl Facts {
    #[track_caller]
    pub fn of(repo: &Repo) -> Self {
        let ask = |args: &[&str]| {
            // A look must not refresh the index.
            let raw = repo.call(&["--no-optional-locks"]).args(args).ok().raw;
            raw.escape_ascii().to_string().replace("\\n", "\n").replace("\\x00", "\n")
        };
        let mut facts: BTreeMap<_, _> = QUESTIONS.iter().map(|(name, args)| (*name, ask(args))).collect();
        let counted = counted_as_changed(repo, facts.get("status").map_or("", String::as_str));
        if !counted.is_empty() {
            facts.extend(without_them(repo, &counted));
        }
        // Only the flags: intent to add, skip-worktree, assume-unchanged.
        let debug = ask(&["ls-files", "--debug"]);
        let flags = debug.lines().filter_map(|line| line.split_once("flags: ")).map(|(_, flags)| flags);
        let flags = flags.map(|flags| format!("{:x}", u32::from_str_radix(flags, 16).unwrap() & ENTRY_FLAGS));
        facts.insert("flags", flags.collect::<Vec<_>>().join("\n"));
        // Where a detached HEAD came from is told by the log of HEAD's moves, and
        // how much of a sparse checkout is there not for every form of the index.
        let no_branch = ["HEAD detached ", "Not currently on any branch", "You are in a sparse"];
        let moved = |line: &&str| !no_branch.iter().any(|start| line.starts_with(start));
        let told = facts.get("told").map(|told| told.lines().filter(moved).collect::<Vec<_>>().join("\n"));
        facts.extend(told.map(|told| ("told", told)));
        // A checkout may sit on a branch while others are there too.
        if let Some(head) = facts.get("head").cloned() {
            let is_own = |line: &&str| line.split(' ').next() == Some(head.trim());
            let only = |all: &String| all.lines().filter(is_own).collect::<String>();
            let own = facts.get("upstream").map(only);
            facts.extend(own.map(|own| ("upstream", own)));
        }
        let ignored = ["ls-files", "--others", "--ignored", "--exclude-standard", "-z"];
        let ignored = repo.call(&ignored).ok().raw;
        let ignored: Vec<&[u8]> = ignored.split(|byte| *byte == 0).collect();
        let files = tree(&repo.path);
        // Git lists no empty folders, ignored or not.
        let empty = files.iter().filter(|(_, what)| *what == "empty folder");
        let empty: Vec<u8> = empty.flat_map(|(path, _)| [path, b"/\0" as &[u8]].concat()).collect();
        let no_folders = repo.call(&["check-ignore", "-z", "--stdin"]).stdin(empty).run().raw;
        let ignored: Vec<&[u8]> = ignored
            .into_iter()
            .chain(no_folders.split(|byte| *byte == 0).map(|path| path.strip_suffix(b"/").unwrap_or(path)))
            .collect();
        let files = files.into_iter().filter(|(path, _)| !ignored.contains(&path.as_slice()));
        let line = |(path, what): (Vec<u8>, String)| format!("{} {what}", path.escape_ascii());
        facts.insert("tree", working_tree(repo));
        facts.insert("files", files.map(line).collect::<Vec<_>>().join("\n"));
        Facts(facts)
    }

    /// Leaves out an answer that may differ for a reason.
    pub fn without(mut self, question: &str) -> Self {
        assert!(self.0.remove(question).is_some(), "nobody asks for {question}");
        self
    }

    /// Fails with the first difference.
    #[track_caller]
    pub fn assert_same(&self, other: &Facts) {
        for (question, answer) in &self.0 {
            let found = other.0.get(question).map_or("nothing", String::as_str);
            assert!(answer == found, "{question} differs\n--- captured\n{answer}\n--- restored\n{found}");
        }
        assert_eq!(self.0.len(), other.0.len());
    }
}

/// Files that git counts as changed by their size, although it would store what the index
/// has: `publish` says that they arrive as unchanged.
fn counted_as_changed(repo: &Repo, status: &str) -> Vec<String> {
    let changed = status.lines().filter_map(|line| {
        let words: Vec<&str> = line.splitn(9, ' ').collect();
        let ["1", state, _, _, index, file, _, object, path] = *words else { return None };
        (state.ends_with('M') && index == file).then_some((object, path))
    });
    let is_the_same = |(object, path): &(&str, &str)| {
        // An escaped name is nobody's file here.
        let hashed = repo.call(&["hash-object", "--path", path, "--", path]).run();
        hashed.code == 0 && hashed.stdout.trim() == *object
    };
    changed.filter(is_the_same).map(|(_, path)| path.to_owned()).collect()
}

/// What git says once it has noted those files, in an index of its own.
fn without_them(repo: &Repo, paths: &[String]) -> Vec<(&'static str, String)> {
    let aside = tempfile::tempdir().unwrap();
    fs::set_permissions(aside.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let own = aside.path().join("index");
    fs::copy(repo.git(&["rev-parse", "--path-format=absolute", "--git-path", "index"]), &own).unwrap();
    let call = |args: &[&str]| repo.call(args).env("GIT_INDEX_FILE", &own);
    call(&["add", "--sparse", "--"]).args(paths).ok();
    let ask = |args: &[&str]| {
        let raw = call(&["--no-optional-locks"]).args(args).ok().raw;
        raw.escape_ascii().to_string().replace("\\n", "\n").replace("\\x00", "\n")
    };
    let asked = QUESTIONS.iter().filter(|(name, _)| ["status", "told"].contains(name));
    asked.map(|(name, args)| (*name, ask(args))).collect()
}

/// The hash of the working files as git would commit all of them, found
/// without writing into the repository.
fn working_tree(repo: &Repo) -> String {
    let aside = tempfile::tempdir().unwrap();
    let objects = repo.git(&["rev-parse", "--path-format=absolute", "--git-path", "objects"]);
    let index = repo.git(&["rev-parse", "--path-format=absolute", "--git-path", "index"]);
    // Whoever runs git must be able to write there.
    fs::set_permissions(aside.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let own = aside.path().join("index");
    // With its time: git looks again at files that are no older.
    if let Ok(written) = fs::metadata(&index).and_then(|meta| meta.modified()) {
        fs::copy(&index, &own).unwrap();
        fs::File::options().append(true).open(&own).unwrap().set_modified(written).unwrap();
    }
    let call = |args: &[&str]| {
        let call = repo.call(args).env("GIT_INDEX_FILE", &own);
        call.env("GIT_OBJECT_DIRECTORY", aside.path()).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects)
    };
    call(&["add", "--all", "--sparse"]).run();
    call(&["write-tree", "--missing-ok"]).ok().stdout
}

/// Every file, link and empty folder below `root` but `.git`: path, and type,
/// executable bit and content as one text.
pub fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    walk(root, Vec::new(), &mut found);
    found
}

fn walk(root: &Path, path: Vec<u8>, found: &mut BTreeMap<Vec<u8>, String>) {
    let full = root.join(OsStr::from_bytes(&path));
    let meta = full.symlink_metadata().unwrap();
    if meta.is_symlink() {
        let target = fs::read_link(&full).unwrap();
        found.insert(path, format!("-> {}", target.as_os_str().as_bytes().escape_ascii()));
    } else if meta.is_dir() {
        let names = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.filter(|name| !path.is_empty() || name != ".git");
        // Nothing of what is neither arrives, and reading a pipe takes for ever.
        let is_known = |kind: fs::FileType| kind.is_file() || kind.is_dir() || kind.is_symlink();
        let kind = |name: &std::ffi::OsString| full.join(name).symlink_metadata().unwrap().file_type();
        let names: Vec<_> = names.filter(|name| is_known(kind(name))).collect();
        for name in &names {
            let parent = if path.is_empty() { Vec::new() } else { [&path[..], b"/"].concat() };
            walk(root, [&parent, name.as_bytes()].concat(), found);
        }
        if names.is_empty() && !path.is_empty() {
            found.insert(path, "empty folder".into());
        }
    } else {
        let kind = if meta.mode() & 0o100 == 0 { "file" } else { "program" };
        found.insert(path, format!("{kind} {}", fs::read(&full).unwrap().escape_ascii()));
    }
}
