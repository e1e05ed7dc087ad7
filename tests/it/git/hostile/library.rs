//! What git's library would open on this machine because files of a task say so:
//! paths of the host, and pipes at which it would wait for ever.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::support::{ImageBuilder, Lab};

/// A pipe at a path. Whoever opens it is seen, and let go on.
struct Trap {
    path: PathBuf,
    ended: Arc<AtomicBool>,
    opened: Option<std::thread::JoinHandle<bool>>,
}

impl Trap {
    /// Makes the pipe, unless it is there.
    fn at(path: &Path) -> Self {
        let _ = rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0);
        let ended = Arc::new(AtomicBool::new(false));
        let (place, over) = (path.to_owned(), ended.clone());
        let opened = std::thread::spawn(move || {
            let mut opened = false;
            while !over.load(Ordering::Relaxed) {
                let flags = OFlags::NONBLOCK.bits() as i32;
                // It opens only while somebody reads.
                let is_pipe = place.symlink_metadata().is_ok_and(|meta| !meta.is_file());
                opened |= is_pipe && OpenOptions::new().write(true).custom_flags(flags).open(&place).is_ok();
                std::thread::sleep(Duration::from_millis(5));
            }
            opened
        });
        Trap { path: path.to_owned(), ended, opened: Some(opened) }
    }

    #[track_caller]
    fn assert_untouched(mut self) {
        self.ended.store(true, Ordering::Relaxed);
        assert!(!self.opened.take().unwrap().join().unwrap(), "{} was opened", self.path.display());
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn labs() -> [Lab; 2] {
    [Lab::new(), Lab::unprivileged()]
}

#[test]
fn a_repository_among_the_files_of_a_task_leads_nowhere() {
    for lab in labs() {
        let trap = Trap::at(&lab.dev.path("private"));
        let include = format!("[core]\n\trepositoryformatversion = 0\n[include]\n\tpath = {}\n", trap.path.display());
        for (name, text) in
            [("HEAD", "ref: refs/heads/main\n"), ("config", &include), ("objects/keep", ""), ("refs/keep", "")]
        {
            lab.repo.write(format!("e.git/{name}"), text);
        }
        let task = lab.publish(&ImageBuilder::busybox());
        lab.sh(&task, "echo more >mine");
        let asked = lab.dev.envctl(["workspace", "rm", &task]).code(2);
        asked.says(&["the repository e.git, which is not opened", "e.git/config"]);
        lab.repo.commit("with a repository");
        let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
        lab.agent.envctl(["run", "--image", &image, "--", "true"]).cwd(&lab.repo.path).ok();
        trap.assert_untouched();
    }
}

#[test]
fn pipes_that_a_run_laid_hold_nothing_up() {
    for lab in labs() {
        lab.repo.write("src/a.txt", "a");
        lab.repo.write(
            "envctl.toml",
            "[[cache]]\nname = \"deps\"\npath = \"deps\"\ninputs = [\"src/**/*.txt\"]\nsetup = \"echo x >deps/x\"\n",
        );
        let task = lab.publish(&ImageBuilder::busybox());
        lab.sh(
            &task,
            "mkdir -p n/.git/objects n/.git/refs; echo 'ref: refs/heads/main' >n/.git/HEAD; mkfifo n/.gitignore
             echo notes >>.git/info/exclude; echo kept >notes; rm -f .gitignore; mkfifo .gitignore src/.gitignore",
        );
        let root = PathBuf::from(lab.report()["workspace"].as_str().unwrap());
        let traps = ["n/.gitignore", ".gitignore", "src/.gitignore"].map(|name| Trap::at(&root.join(name)));
        lab.dev.envctl(["show", &task]).ok();
        lab.enter(&task, &["true"]).ok();
        lab.dev.envctl(["workspace", "rm", &task]).code(2).says(&["ignores beside an odd"]);
        traps.into_iter().for_each(Trap::assert_untouched);
    }
}

#[test]
fn a_checkout_with_pipes_in_its_git_folder_is_refused_at_once() {
    let lab = Lab::new();
    lab.repo.write(".devcontainer/devcontainer.json", "{\"image\": \"debian\"}");
    for name in ["shallow", "info/grafts"] {
        let trap = Trap::at(&lab.repo.path.join(".git").join(name));
        for words in [&["init", "--yes"] as &[&str], &["doctor"], &["diff"]] {
            lab.agent.envctl(words).cwd(&lab.repo.path).run();
        }
        lab.repo.remove(Path::new(".git").join(name));
        trap.assert_untouched();
    }
}
