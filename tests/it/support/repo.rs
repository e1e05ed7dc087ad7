//! A remote and an agent's checkout, made by the real git.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::call::Call;
use super::home::Home;

/// A bare remote and one clone of it.
#[derive(Clone)]
pub struct Repo {
    home: Home,
    pub remote: PathBuf,
    pub path: PathBuf,
    /// Git-lfs's filter is in force, as `git lfs install` leaves it.
    lfs: bool,
}

impl Repo {
    /// A remote with one commit on `main`, cloned to `checkout`.
    pub fn new(home: &Home) -> Self {
        let (remote, path) = (home.path("remote.git"), home.path("checkout"));
        let repo = Repo { home: home.clone(), remote, path, lfs: false };
        let (remote, path) = (repo.remote.to_str().unwrap(), repo.path.to_str().unwrap());
        repo.git_in("", &["init", "--quiet", "--bare", "--initial-branch=main", remote]).ok();
        repo.git_in("", &["clone", "--quiet", &repo.url(), path]).ok();
        repo.write("README", "shop\n");
        repo.commit("first");
        repo.push();
        repo
    }

    /// Another clone of the same remote, for example with `--depth=1`.
    pub fn clone_to(&self, name: &str, options: &[&str]) -> Self {
        let path = self.home.path(name);
        let url = self.url();
        let args = [&["clone", "--quiet"], options, &[&url, path.to_str().unwrap()]].concat();
        self.git_in("", &args).ok();
        Repo { home: self.home.clone(), remote: self.remote.clone(), path, lfs: false }
    }

    /// The same repository in another folder, as somebody else sees it.
    pub fn seen_by(&self, home: &Home, path: impl AsRef<Path>) -> Self {
        Repo { home: home.clone(), remote: self.remote.clone(), path: path.as_ref().to_owned(), lfs: false }
    }

    /// A repository inside of this one.
    pub fn within(&self, folder: &str) -> Self {
        Repo { path: self.path.join(folder), ..self.clone() }
    }

    /// The same with git-lfs's filter in force, for every command from here.
    pub fn with_lfs(mut self) -> Self {
        self.lfs = true;
        self
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.remote.display())
    }

    /// Standard output of a git command in the checkout, without the last newline.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let run = self.git_in(self.path.to_str().unwrap(), args).run().ok();
        run.stdout.strip_suffix('\n').map(str::to_owned).unwrap_or(run.stdout)
    }

    /// A git command in the checkout, for what is no text or may fail.
    pub fn call(&self, args: &[impl AsRef<OsStr>]) -> Call {
        self.git_in(self.path.to_str().unwrap(), &[] as &[&str]).args(args)
    }

    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        self.home.write(self.path.join(path), bytes);
    }

    /// Makes a symbolic link; its target need not exist.
    pub fn symlink(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        let path = self.path.join(path);
        self.home.mkdir(path.parent().unwrap());
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub fn mkdir(&self, path: impl AsRef<Path>) {
        self.home.mkdir(self.path.join(path));
    }

    pub fn remove(&self, path: impl AsRef<Path>) {
        std::fs::remove_file(self.path.join(path)).unwrap();
    }

    /// Makes tracked files older than the index, so that git takes those for
    /// known that are as it has them.
    pub fn age(&self) {
        let listed = self.call(&["ls-files", "-z"]).ok().raw;
        let paths = listed.split(|byte| *byte == 0).map(|path| self.path.join(OsStr::from_bytes(path)));
        for path in paths.filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file())) {
            let file = std::fs::File::open(path).unwrap();
            file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_secs(10)).unwrap();
        }
        self.call(&["update-index", "-q", "--refresh"]).run();
    }

    /// Commits everything that is there; the commit's hash.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn push(&self) {
        self.git(&["push", "--quiet", "origin", "HEAD"]);
    }

    /// A shell script in the checkout; `git` in it is the same person's.
    pub fn sh(&self, script: &str) -> Call {
        self.as_agent(self.home.call("sh", ["-c", script])).cwd(&self.path)
    }

    fn git_in(&self, folder: &str, args: &[&str]) -> Call {
        self.as_agent(self.home.call("git", args)).cwd(self.home.path(folder))
    }

    fn as_agent(&self, mut call: Call) -> Call {
        for role in ["AUTHOR", "COMMITTER"] {
            call = call
                .env(&format!("GIT_{role}_NAME"), "Agent")
                .env(&format!("GIT_{role}_EMAIL"), "agent@example.org")
                .env(&format!("GIT_{role}_DATE"), "2026-01-15T10:30:00Z");
        }
        let lfs = [("clean", "git-lfs clean -- %f"), ("smudge", "git-lfs smudge -- %f"), ("required", "true")];
        for (n, (key, value)) in lfs.iter().enumerate().filter(|_| self.lfs) {
            call = call.env("GIT_CONFIG_COUNT", (n + 1).to_string());
            call = call.env(&format!("GIT_CONFIG_KEY_{n}"), format!("filter.lfs.{key}"));
            call = call.env(&format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        call
    }
}
