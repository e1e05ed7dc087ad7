//! What a run leaves of a merge, a rebase or a bisect that is in progress. The prompts of
//! shells read it whenever somebody is in the folder, `git status` prints it, and neither
//! asks who wrote it.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::Audit;
use super::folder::{exists, read_plain};
use crate::disk::descent::{self, Opened};

/// The list of a long rebase is no larger, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Folders of a git folder in which git keeps what is in progress.
pub(in super::super) const IN_PROGRESS: [&CStr; 3] = [c"rebase-merge", c"rebase-apply", c"sequencer"];

/// What git writes into a file there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A count. `git-prompt.sh`, `__git_ps1`: the shell evaluates what is in it.
    Number,
    /// Names and lines that are printed as they are.
    Words,
}

/// What prompts and `git status` read, in a folder or beside them.
const READ: [(&str, &CStr, Form); 29] = [
    ("rebase-merge", c"msgnum", Form::Number),
    ("rebase-merge", c"end", Form::Number),
    ("rebase-merge", c"head-name", Form::Words),
    ("rebase-merge", c"onto", Form::Words),
    ("rebase-merge", c"onto_name", Form::Words),
    ("rebase-merge", c"orig-head", Form::Words),
    ("rebase-merge", c"stopped-sha", Form::Words),
    ("rebase-merge", c"git-rebase-todo", Form::Words),
    ("rebase-merge", c"done", Form::Words),
    ("rebase-apply", c"next", Form::Number),
    ("rebase-apply", c"last", Form::Number),
    ("rebase-apply", c"head-name", Form::Words),
    ("rebase-apply", c"onto", Form::Words),
    ("rebase-apply", c"onto_name", Form::Words),
    ("rebase-apply", c"orig-head", Form::Words),
    ("rebase-apply", c"abort-safety", Form::Words),
    ("sequencer", c"todo", Form::Words),
    ("sequencer", c"done", Form::Words),
    ("sequencer", c"head", Form::Words),
    ("", c"MERGE_HEAD", Form::Words),
    ("", c"CHERRY_PICK_HEAD", Form::Words),
    ("", c"REVERT_HEAD", Form::Words),
    ("", c"REBASE_HEAD", Form::Words),
    ("", c"ORIG_HEAD", Form::Words),
    ("", c"BISECT_START", Form::Words),
    ("", c"BISECT_TERMS", Form::Words),
    ("", c"BISECT_NAMES", Form::Words),
    ("", c"BISECT_LOG", Form::Words),
    ("", c"BISECT_EXPECTED_REV", Form::Words),
];

impl Form {
    fn holds(self, text: &[u8]) -> bool {
        match self {
            Form::Number => text.len() < 12 && text.trim_ascii_end().iter().all(u8::is_ascii_digit),
            Form::Words => {
                !String::from_utf8_lossy(text).chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            }
        }
    }

    fn why(self) -> &'static str {
        match self {
            Form::Number => "it is no number, and the prompt of a shell would obey it",
            Form::Words => "git would print it to the terminal",
        }
    }
}

impl Audit<'_> {
    /// Looks at what is in progress in a git folder.
    pub(super) fn operations(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        self.operation_files(folder, "", touched);
        for name in IN_PROGRESS {
            let Ok(Opened::Open(inner)) = descent::open(folder, name) else { continue };
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            // Its own age says nothing of what was written to a file in it.
            self.operation_files(inner.as_fd(), &name.to_string_lossy(), touched);
            self.path.pop();
        }
    }

    /// The same in one of the [`IN_PROGRESS`], if this is one.
    pub(super) fn operation_folder(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        let name = self.path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        if IN_PROGRESS.iter().any(|known| known.to_bytes() == name.as_bytes()) {
            self.operation_files(folder, &name, touched);
        }
    }

    fn operation_files(&mut self, folder: BorrowedFd<'_>, of: &str, touched: bool) {
        for (_, name, form) in READ.into_iter().filter(|(place, ..)| *place == of) {
            if exists(folder, name)
                && (touched || self.is_new(folder, name))
                && !read_plain(folder, name, MAX_FILE).is_ok_and(|text| form.holds(&text))
            {
                self.quarantine(folder, name, form.why().into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{found, nested};

    #[test]
    fn a_prompt_and_git_status_get_what_git_writes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let own = nested(root, ".");
        let inner = nested(root, "n");
        let fine = [
            ("rebase-merge/msgnum", "3\n"),
            ("rebase-merge/end", "12\n"),
            ("rebase-merge/head-name", "refs/heads/täsk\n"),
            ("rebase-merge/git-rebase-todo", "pick 0123 it's\tdone\nexec make $(nproc)\n"),
            ("rebase-merge/message", "\u{1b}[2J is a text that nobody reads unasked\n"),
            ("rebase-apply/next", "1\n"),
            ("BISECT_START", "main\n"),
        ];
        let bad = [
            ("rebase-merge/msgnum", "$(touch x)\n"),
            ("rebase-merge/end", "`x`"),
            ("rebase-apply/last", "1$(x)\n"),
            ("rebase-merge/head-name", "\u{1b}]0;x\u{7}\n"),
            ("rebase-merge/done", "pick \u{9b}2J\n"),
            ("sequencer/todo", "pick \u{1b}[2J\n"),
            ("BISECT_START", "\u{1b}[2J\n"),
            ("BISECT_LOG", "\u{7}\n"),
        ];
        for git in [&own, &inner] {
            ["rebase-merge", "rebase-apply", "sequencer"]
                .iter()
                .for_each(|name| fs::create_dir(git.join(name)).unwrap());
            fine.iter().for_each(|(name, text)| fs::write(git.join(name), text).unwrap());
        }
        assert_eq!(found(root), [] as [&str; 0]);
        for git in [&own, &inner] {
            bad.iter().for_each(|(name, text)| fs::write(git.join(name), text).unwrap());
        }
        let mut expected: Vec<String> = [".git/", "n/.git/"]
            .iter()
            .flat_map(|git| bad.iter().map(move |(name, _)| format!("{git}{name}")))
            .collect();
        expected.sort();
        assert_eq!(found(root), expected);
        assert_eq!(found(root), [] as [&str; 0], "they are put away");
    }
}
