//! A file system of a test's own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own, gone with this value.
pub struct Small(pub PathBuf);

impl Small {
    #[track_caller]
    pub fn at(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("mode=755,{options}"), "envctl-it"], path);
        chown(path, None, None).unwrap();
        Small(path.to_owned())
    }

    #[track_caller]
    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}")], &self.0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[track_caller]
fn run(program: &str, args: &[&str], path: &Path) {
    let status = Command::new(program).args(args).arg(path).status().unwrap();
    assert!(status.success(), "{program} {args:?} {} needs root", path.display());
}
