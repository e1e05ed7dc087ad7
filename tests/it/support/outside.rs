//! Files around everything that a hostile image may reach for.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::home::Home;

/// A folder and a working directory that nobody may touch. Change times are
/// compared, so that a touch that was undone counts as one.
pub struct Outside {
    home: Home,
    folders: Vec<PathBuf>,
    before: Vec<Facts>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Facts {
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    changed: (i64, i64),
    content: Vec<u8>,
}

impl Outside {
    pub fn of(home: &Home) -> Self {
        let folders = ["outside", "cwd"].map(|folder| home.path(folder)).to_vec();
        for folder in &folders {
            home.write(folder.join("sentinel"), "untouched");
        }
        let mut outside = Outside { home: home.clone(), folders, before: Vec::new() };
        outside.before = outside.facts();
        outside
    }

    /// From now on this folder counts as well.
    pub fn watch(&mut self, folder: &Path) {
        self.folders.push(folder.to_owned());
        self.before = self.facts();
    }

    /// The folder: `outside`, with a file `sentinel` in it.
    pub fn folder(&self) -> String {
        self.home.path("outside").to_str().unwrap().to_owned()
    }

    pub fn sentinel(&self) -> String {
        format!("{}/sentinel", self.folder())
    }

    /// A working directory with a file `sentinel` in it.
    pub fn cwd(&self) -> PathBuf {
        self.home.path("cwd")
    }

    #[track_caller]
    pub fn assert_untouched(&self) {
        let now = self.facts();
        let (before, now): (HashSet<&Facts>, HashSet<&Facts>) = (self.before.iter().collect(), now.iter().collect());
        let paths: Vec<&Path> = before.symmetric_difference(&now).map(|facts| facts.path.as_path()).collect();
        assert!(paths.is_empty(), "touched: {paths:?}");
    }

    /// Nothing in the whole home has a name with this text in it.
    #[track_caller]
    pub fn assert_no_trace_of(&self, text: &str) {
        let mut found = Vec::new();
        walk(&self.home.path(""), &mut |path| {
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(text)) {
                found.push(path.to_owned());
            }
        });
        assert!(found.is_empty(), "{found:?}");
    }

    fn facts(&self) -> Vec<Facts> {
        let mut facts = Vec::new();
        for folder in &self.folders {
            walk(folder, &mut |path| facts.push(Facts::of(path)));
        }
        facts.sort_by(|a, b| a.path.cmp(&b.path));
        facts
    }
}

impl Facts {
    fn of(path: &Path) -> Self {
        let found = path.symlink_metadata().unwrap();
        // Git gives an object that it needs again a new time, so that no
        // clean-up of old ones takes it: the only touch that is none.
        let object = found.is_file() && path.to_string_lossy().contains("/.git/objects/");
        Facts {
            path: path.to_owned(),
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            links: found.nlink(),
            changed: if object { (0, 0) } else { (found.ctime(), found.ctime_nsec()) },
            content: if found.is_file() { fs::read(path).unwrap() } else { Vec::new() },
        }
    }
}

/// Visits a folder and everything below it, following nothing.
fn walk(path: &Path, visit: &mut impl FnMut(&Path)) {
    visit(path);
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}
