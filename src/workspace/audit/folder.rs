//! What git obeys in a git folder: configuration, hooks, and where it says the
//! rest of it lies.

use std::ffi::{CStr, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Audit, settings};
use crate::disk::beneath::open_beneath;
use crate::disk::descent::{self, Opened};

/// Where workspaces are inside, or folders with them, unless a task says another place.
const INSIDE: &[&str] = &[
    "/workspace",
    "/workspaces",
    #[cfg(test)]
    super::tests::INSIDE,
];

/// Larger files of configuration are taken for hostile.
const MAX_CONFIG: u64 = 1 << 20;

impl Audit<'_> {
    /// Other objects that a repository borrows: they are in the workspace too.
    /// Where a line leads can change without the file, so its age says nothing, but
    /// of a line that no run can have written: of an absolute one that leads out.
    pub(super) fn alternates(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        let name = c"alternates";
        if !exists(folder, name) {
            return;
        }
        let suspect = touched || self.is_new(folder, name);
        let leads_out = match read_plain(folder, name, MAX_CONFIG) {
            Ok(text) => {
                let objects = self.path.parent().unwrap_or(Path::new("")).to_owned();
                let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let stays = |line: &[u8]| line.first() == Some(&b'#') || self.is_of_workspace(&objects, line, suspect);
                (!lines.all(stays)).then(|| "it leads out of the workspace".to_owned())
            }
            Err(_) if !suspect => None,
            Err(why) => Some(why.into()),
        };
        if let Some(why) = leads_out {
            self.quarantine(folder, name, why);
        }
    }

    /// Whether a line of `alternates` names a folder of the workspace, reached
    /// through no link. Git takes a line in quotes apart: that is no name.
    fn is_of_workspace(&self, objects: &Path, line: &[u8], suspect: bool) -> bool {
        let named = Path::new(std::ffi::OsStr::from_bytes(line));
        let below = named.strip_prefix(self.workspace).ok().or_else(|| self.named_inside(named));
        let beneath = match below {
            _ if line.first() == Some(&b'"') => return false,
            Some(below) => super::place_of(Path::new(""), below),
            None if named.is_absolute() => return !suspect,
            None => super::place_of(objects, named),
        };
        let Some(place) = beneath else { return false };
        // Only what is in a git folder is judged as objects are.
        let is_judged = place.ends_with("objects") && place.iter().any(|part| part == ".git");
        if !is_judged && (suspect || self.distrusts || self.has_moved(&self.workspace.join(&place))) {
            return false;
        }
        match self.open_place(&place) {
            // Git reads the alternates of that as well.
            Ok(lender) => !exists(lender.as_fd(), c"info/alternates"),
            // What is missing may come to be a link.
            Err(error) => error == Errno::NOENT && !suspect,
        }
    }

    /// Where a path that programs inside use lies in the workspace, such as
    /// `git clone --shared` writes. Only where a task does not choose what is asked of
    /// the host, and where the host has no such folder: nobody inside is to learn what
    /// is in it.
    pub(super) fn named_inside<'n>(&self, named: &'n Path) -> Option<&'n Path> {
        let inside = self.run.inside?;
        let root = INSIDE.iter().map(Path::new).find(|root| inside == *root || inside.parent() == Some(root))?;
        // Git takes `..` out of some paths as they are written.
        let below =
            named.strip_prefix(inside).ok().filter(|_| !named.components().any(|part| part == Component::ParentDir))?;
        let on_host = rustix::fs::statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW);
        (on_host.err() == Some(Errno::NOENT)).then_some(below)
    }

    /// What a merge notes for `rerere`: git reads the files that it names, wherever
    /// they are, and keeps copies of them here.
    fn rerere(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        let name = c"MERGE_RR";
        if exists(folder, name) && (touched || self.is_new(folder, name)) {
            self.quarantine(folder, name, "git would copy the files that it names".into());
        }
    }

    /// Words of the last `git gc`, which the next git command prints as they are.
    pub(super) fn words(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        let name = c"gc.log";
        let is_odd = |text: Vec<u8>| {
            String::from_utf8(text)
                .map_or(true, |text| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')))
        };
        if exists(folder, name)
            && (touched || self.is_new(folder, name))
            && read_plain(folder, name, MAX_CONFIG).map_or(true, is_odd)
        {
            self.quarantine(folder, name, "git would print it to the terminal".into());
        }
    }

    /// Addresses of remotes as git kept them long ago: `git fetch` still obeys them.
    pub(super) fn old_remotes(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        for name in [c"remotes", c"branches"] {
            let Ok(Opened::Open(inner)) = descent::open(folder, name) else { continue };
            let mut has_new = false;
            let _ = descent::list(inner.as_fd(), |file, _| has_new |= touched || self.is_new(inner.as_fd(), file));
            if has_new {
                self.quarantine(folder, name, "git would fetch from where it says".into());
            }
        }
    }

    /// What the remote has is settled by these: one that follows a branch would
    /// say that of every commit on it.
    pub(super) fn remote_refs(&mut self, folder: BorrowedFd<'_>) {
        let mut names = Vec::new();
        // From its beginning: it has been listed.
        let Ok(again) = rustix::fs::openat(folder, c".", descent::folder_flags(), Mode::empty()) else { return };
        let _ = descent::list(again.as_fd(), |name, kind| {
            // Git takes no name that ends like this for a ref.
            if kind == FileType::RegularFile && !name.to_bytes().ends_with(b".lock") {
                names.push(name.to_owned());
            }
        });
        names.retain(|name| self.is_new(folder, name));
        for name in names {
            let may_be = read_plain(folder, &name, 4096).is_ok_and(|text| {
                let Some(target) = text.strip_prefix(b"ref:") else { return true };
                name.as_c_str() == c"HEAD" && self.is_of_this_remote(target.trim_ascii())
            });
            if !may_be {
                self.quarantine(folder, &name, "commits would count as being on the remote".into());
            }
        }
    }

    /// Whether a ref is one of the remote in whose folder this is.
    fn is_of_this_remote(&self, target: &[u8]) -> bool {
        let remote = self.path.strip_prefix(".git/refs/remotes").ok().and_then(|below| below.iter().next());
        let below = remote
            .and_then(|remote| target.strip_prefix([b"refs/remotes/", remote.as_bytes(), b"/"].concat().as_slice()));
        below.is_some_and(|name| !name.is_empty())
    }

    /// Another one. Where there is no place for any, nothing stays that it is to
    /// obey.
    pub(super) fn git_folder(&mut self, folder: BorrowedFd<'_>, touched: bool, strange: bool) {
        for (name, why) in self.obeyed(folder, touched, strange) {
            self.quarantine(folder, name, why);
        }
        self.rerere(folder, touched);
        self.words(folder, touched);
        self.operations(folder, touched);
        self.old_remotes(folder, touched);
        self.bad_index(folder, touched);
    }

    /// What git should not obey, and why.
    pub(super) fn obeyed(&self, folder: BorrowedFd<'_>, touched: bool, strange: bool) -> Vec<(&'static CStr, String)> {
        let bad = |name: &'static CStr| {
            if strange {
                return Some("there is no place for a repository".to_owned());
            }
            let suspect = touched || self.is_new(folder, name);
            match name.to_bytes() {
                b"hooks" => self.bad_hooks(folder, suspect),
                // Nothing there came with the task.
                b"config" | b"config.worktree" if !suspect && self.superproject().is_some() => {
                    self.bad_work(folder, name)
                }
                // Where it leads can change without it.
                b"commondir" => (!self.leads_to_own(folder) && !self.is_linked_worktree(folder))
                    .then(|| "it leads to another configuration".into()),
                _ if !suspect => None,
                _ => self.bad_config(folder, name),
            }
        };
        let names = [c"config", c"config.worktree", c"commondir", c"hooks"];
        names
            .into_iter()
            .filter(|name| exists(folder, name) && !self.is_own_link(folder, name))
            .filter_map(|name| Some((name, bad(name)?)))
            .collect()
    }

    /// The first hook that git would run.
    pub(super) fn bad_hooks(&self, folder: BorrowedFd<'_>, suspect: bool) -> Option<String> {
        let stat = rustix::fs::statat(folder, c"hooks", AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => return suspect.then(|| "what it leads to would be run".into()),
            FileType::Directory => {}
            _ => return None,
        }
        let hooks = match descent::open(folder, c"hooks") {
            Ok(Opened::Open(hooks)) => hooks,
            Ok(Opened::Sealed) | Err(Errno::NOENT) => return None,
            Ok(Opened::Blind) | Err(_) => return Some("it cannot be looked into".into()),
        };
        let mut found = None;
        let listed = descent::list(hooks.as_fd(), |name, _| {
            let is_sample = name.to_bytes().ends_with(b".sample");
            if found.is_none() && !is_sample && (suspect || self.is_new(hooks.as_fd(), name)) {
                found = Some(format!("hooks/{} would be run", name.to_string_lossy()));
            }
        });
        found.or_else(|| listed.err().map(|error| format!("it cannot be looked into: {error}")))
    }

    /// The text of a repository's configuration.
    pub(super) fn config_text(&self, folder: BorrowedFd<'_>) -> Result<Vec<u8>, &'static str> {
        read_plain(folder, c"config", MAX_CONFIG)
    }

    /// Why git should not read this configuration; `None` where it may.
    pub(super) fn bad_config(&self, folder: BorrowedFd<'_>, name: &CStr) -> Option<String> {
        match read_plain(folder, name, MAX_CONFIG) {
            Ok(text) => settings::why_not(&text, |value| self.is_work(value)),
            Err(why) => Some(why.into()),
        }
    }

    /// Why this configuration is not to say where the files are.
    fn bad_work(&self, folder: BorrowedFd<'_>, name: &CStr) -> Option<String> {
        let text = read_plain(folder, name, MAX_CONFIG).ok()?;
        settings::why_not_work(&text, |value| self.is_work(value))
    }

    /// Where the files of the repository are in whose `.git/modules` this is the git
    /// folder of a submodule, perhaps in one of its worktrees.
    pub(super) fn superproject(&self) -> Option<&Path> {
        let git = self.path.ancestors().find(|part| part.file_name() == Some(OsStr::new(".git")))?;
        let below = self.path.strip_prefix(git).ok()?;
        let mut parts = below.iter().map(OsStr::as_bytes);
        match (parts.next(), parts.nth(1)) {
            (Some(b"modules"), _) | (Some(b"worktrees"), Some(b"modules")) => git.parent(),
            _ => None,
        }
    }

    /// Whether a submodule's git folder may name this as the place of its
    /// files: a folder of the workspace that is in no git folder and is none,
    /// reached through no link. It may be gone: then nothing is there to be lost.
    fn is_work(&self, value: &str) -> bool {
        let plain = !value.contains(['"', '\\', '#', ';']);
        let Some(of) = self.superproject().filter(|_| plain) else { return false };
        let Some(place) = super::place_of(&self.path, Path::new(value)) else { return false };
        place.strip_prefix(of).is_ok_and(|below| below != Path::new(""))
            && place.iter().all(|name| name != ".git")
            && place.ancestors().filter(|part| !part.as_os_str().is_empty()).all(|part| match self.open_place(part) {
                Ok(opened) => !is_repository(opened.as_fd()),
                Err(error) => error == Errno::NOENT,
            })
    }

    /// A folder of the workspace, reached through no link.
    pub(super) fn open_place(&self, place: &Path) -> Result<OwnedFd, Errno> {
        let root = rustix::fs::openat(CWD, self.workspace, descent::folder_flags(), Mode::empty())?;
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        open_beneath(root.as_fd(), place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }
}

/// Whether git may take a folder for a repository.
fn is_repository(folder: BorrowedFd<'_>) -> bool {
    let has = |name: &CStr| exists(folder, name);
    has(c"objects") && has(c"refs") || has(c"HEAD") && has(c"commondir")
}

pub(super) fn exists(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    !matches!(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// The content of a plain file that is not too large; otherwise why not.
pub(super) fn read_plain(folder: BorrowedFd<'_>, name: &CStr, limit: u64) -> Result<Vec<u8>, &'static str> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|_| "it is no plain file")?;
    let stat = rustix::fs::fstat(&file).map_err(|_| "it is no plain file")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no plain file");
    }
    // By that it could change later without anybody being told.
    if stat.st_nlink > 1 {
        return Err("it has another name");
    }
    // One with holes costs a program nothing, and whoever reads it much.
    if u64::try_from(stat.st_size).map_or(true, |size| size > limit) {
        return Err("it cannot be read");
    }
    let mut bytes = Vec::new();
    match std::fs::File::from(file).take(limit + 1).read_to_end(&mut bytes) {
        Ok(count) if count as u64 <= limit => Ok(bytes),
        _ => Err("it cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{INSIDE, bare, found, found_since, from_now, nested};
    use super::super::{AuditedRun, audit};
    use std::fs;
    use std::path::Path;

    #[test]
    fn no_ref_says_that_the_remote_has_what_it_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let own = nested(root, ".");
        let remote = own.join("refs/remotes/origin");
        fs::create_dir_all(remote.join("d")).unwrap();
        let hex = "7".repeat(40);
        for (name, text) in [
            ("HEAD", "ref: refs/remotes/origin/plain\n"),
            ("x", "ref: refs/heads/main\n"),
            ("d/HEAD", "ref: refs/heads/main\n"),
            ("linked", &hex),
            ("plain", &hex),
        ] {
            fs::write(remote.join(name), text).unwrap();
        }
        fs::hard_link(remote.join("linked"), own.join("linked")).unwrap();
        let origin = |name: &str| format!(".git/refs/remotes/origin/{name}");
        assert_eq!(found(root), [origin("d/HEAD"), origin("linked"), origin("x")]);
        assert_eq!(found(root), Vec::<String>::new(), "once is enough");
        let repo = git2::Repository::open(root).unwrap();
        let names = repo.references_glob("refs/remotes/*").unwrap();
        let names: Vec<String> =
            names.map(|one| String::from_utf8_lossy(one.unwrap().name_bytes()).into_owned()).collect();
        assert_eq!(names, ["refs/remotes/origin/HEAD", "refs/remotes/origin/plain"]);
    }

    #[test]
    fn a_bare_repository_borrows_nothing_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let objects = bare(dir.path(), "b.d").join("objects/info");
        fs::create_dir_all(&objects).unwrap();
        fs::write(objects.join("alternates"), "/usr\n").unwrap();
        assert_eq!(found(dir.path()), ["b.d/objects/info/alternates"]);
    }

    #[test]
    fn a_clone_made_inside_may_borrow_from_the_workspace_by_its_path_there() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        nested(dir.path(), "lender");
        let info = nested(dir.path(), "c").join("objects/info");
        fs::create_dir_all(&info).unwrap();
        let names = |text: String| {
            fs::write(info.join("alternates"), text).unwrap();
            found(dir.path())
        };
        let gone = ["c/.git/objects/info/alternates"];
        assert_eq!(names(format!("{INSIDE}/lender/.git/objects\n")), Vec::<String>::new());
        assert_eq!(names(format!("{INSIDE}/../etc\n")), gone, "git takes `..` away by its letters");
        assert_eq!(names(format!("{INSIDE}-too/lender/.git/objects\n")), gone);
        assert_eq!(names(format!("{INSIDE}/none\n")), gone, "it may come to be a link");
        // The host has such a folder: git would read that.
        let run = AuditedRun { inside: Some(Path::new("/etc")), ..AuditedRun::default() };
        fs::write(info.join("alternates"), "/etc/lender/.git/objects\n").unwrap();
        assert_eq!(audit(dir.path(), run).unwrap().renamed.len(), 1);
    }

    #[test]
    fn a_worktree_of_a_submodule_is_judged_by_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let module = bare(dir.path(), ".git/modules/lib");
        let worktree = module.join("worktrees/w");
        fs::create_dir_all(&worktree).unwrap();
        fs::write(worktree.join("HEAD"), "ref: refs/heads/w\n").unwrap();
        fs::write(worktree.join("commondir"), "../..\n").unwrap();
        assert_eq!(found(dir.path()), Vec::<String>::new());
        git2::Config::open(&module.join("config")).unwrap().set_str("core.fsmonitor", "evil").unwrap();
        assert_eq!(found(dir.path()), [".git/modules/lib/config"]);
        // Nobody looks at a bare one among the files while a program runs.
        fs::rename(&module, dir.path().join("b")).unwrap();
        fs::remove_file(dir.path().join("b/config.envctl-quarantine")).unwrap();
        assert_eq!(found(dir.path()), ["b/worktrees/w/commondir"]);
    }

    #[test]
    fn a_list_of_packs_goes_wherever_git_reads_one() {
        let dir = tempfile::tempdir().unwrap();
        let own = nested(dir.path(), ".");
        let other = nested(dir.path(), "n");
        for git in [&own, &other] {
            let pack = git.join("objects/pack/multi-pack-index.d");
            fs::create_dir_all(&pack).unwrap();
            fs::write(pack.join("multi-pack-index-chain"), "x").unwrap();
            fs::write(git.join("objects/pack/multi-pack-index"), "x").unwrap();
        }
        let names = ["multi-pack-index", "multi-pack-index.d/multi-pack-index-chain"];
        let gone: Vec<_> = ["", "n/"]
            .iter()
            .flat_map(|at| names.iter().map(move |name| format!("{at}.git/objects/pack/{name}")))
            .collect();
        assert_eq!(found(dir.path()), gone);
        assert_eq!(found(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_the_last_look_did_not_see_is_judged_however_old_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let own = nested(dir.path(), ".");
        let config = nested(dir.path(), "closed/x").join("config");
        git2::Config::open(&config).unwrap().set_str("core.fsmonitor", "evil").unwrap();
        let since = from_now(dir.path());
        assert_eq!(found_since(dir.path(), since), Vec::<String>::new());
        fs::create_dir(own.join("envctl")).unwrap();
        fs::write(own.join("envctl/unseen"), "").unwrap();
        assert_eq!(found_since(dir.path(), since), ["closed/x/.git/config"]);
        assert!(!own.join("envctl/unseen").exists(), "now all of it was seen");
    }

    #[test]
    fn a_git_folder_is_judged_before_it_is_a_repository() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let git = dir.path().join("later/.git");
        fs::create_dir_all(git.join("hooks")).unwrap();
        fs::write(git.join("hooks/pre-commit"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", git.join("config")).unwrap();
        fs::write(git.join("gc.log"), "warning: \x1b]0;x\x07").unwrap();
        let names = ["config", "gc.log", "hooks"].map(|name| format!("later/.git/{name}"));
        assert_eq!(found(dir.path()), names);
    }

    #[test]
    fn what_only_switches_something_off_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let config = nested(dir.path(), "n").join("config");
        for (text, is_kept) in [
            ("[core]\n\tfsmonitor = false\n[commit]\n\tgpgSign = false\n", true),
            ("[core]\n\tfsmonitor = falsehood\n", false),
            ("[core]\n\tfsmonitor\n", false),
            ("[branch]\n\tsort = signature\n", false),
            ("[tag]\n\tsort = -signature:key\n", false),
        ] {
            fs::write(&config, text).unwrap();
            assert_eq!(found(dir.path()).is_empty(), is_kept, "{text}");
        }
    }

    #[test]
    fn a_submodule_of_a_nested_clone_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let git = nested(dir.path(), "v/sup");
        let module = bare(dir.path(), "v/sup/.git/modules/lib");
        let set = |value: &str| {
            git2::Config::open(&module.join("config")).unwrap().set_str("core.worktree", value).unwrap();
            found(dir.path())
        };
        assert_eq!(set("../../../lib"), Vec::<String>::new());
        for out in ["../../../../other", "../../../..", "../../..", "../../../../../.."] {
            assert_eq!(set(out), ["v/sup/.git/modules/lib/config"], "{out}");
        }
        assert!(git.join("config").exists());
    }

    #[test]
    fn a_nested_configuration_is_none_of_the_workspaces_own() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let git = nested(dir.path(), "s");
        fs::create_dir_all(git.join("envctl")).unwrap();
        fs::write(git.join("envctl/config"), "[core]\n\tfsmonitor = evil\n").unwrap();
        fs::remove_file(git.join("config")).unwrap();
        std::os::unix::fs::symlink("envctl/config", git.join("config")).unwrap();
        std::os::unix::fs::symlink("/etc", git.join("logs")).unwrap();
        let live = super::super::look_at(dir.path(), Path::new("s"), AuditedRun::default());
        let paths: Vec<_> = live.renamed.iter().map(|one| one.path.display().to_string()).collect();
        assert_eq!(paths, ["s/.git/config", "s/.git/logs"]);
    }
}
