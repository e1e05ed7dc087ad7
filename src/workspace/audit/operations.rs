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
    /// The name of a way to merge: git starts a program for one that is not its own.
    Strategy,
    /// Options of a cherry-pick, among them such a name.
    Options,
    /// The option that names a key.
    Key,
    /// Options of `git apply`, of which some write files elsewhere.
    ApplyOptions,
}

/// What `git am` passes on to `git apply`, `git-am(1)`.
const APPLY_OPTIONS: [&str; 9] = [
    "-C",
    "-p",
    "--whitespace=",
    "--directory=",
    "--exclude=",
    "--include=",
    "--reject",
    "--ignore-whitespace",
    "--ignore-space-change",
];

/// What prompts and git read, in a folder or beside them.
const READ: [(&str, &CStr, Form); 35] = [
    ("rebase-merge", c"msgnum", Form::Number),
    ("rebase-merge", c"end", Form::Number),
    ("rebase-merge", c"head-name", Form::Words),
    ("rebase-merge", c"onto", Form::Words),
    ("rebase-merge", c"onto_name", Form::Words),
    ("rebase-merge", c"orig-head", Form::Words),
    ("rebase-merge", c"stopped-sha", Form::Words),
    ("rebase-merge", c"git-rebase-todo", Form::Words),
    ("rebase-merge", c"done", Form::Words),
    ("rebase-merge", c"strategy", Form::Strategy),
    ("rebase-merge", c"strategy_opts", Form::Words),
    ("rebase-merge", c"gpg_sign_opt", Form::Key),
    ("rebase-apply", c"next", Form::Number),
    ("rebase-apply", c"last", Form::Number),
    ("rebase-apply", c"head-name", Form::Words),
    ("rebase-apply", c"onto", Form::Words),
    ("rebase-apply", c"onto_name", Form::Words),
    ("rebase-apply", c"orig-head", Form::Words),
    ("rebase-apply", c"abort-safety", Form::Words),
    ("rebase-apply", c"gpg_sign_opt", Form::Key),
    ("rebase-apply", c"apply-opt", Form::ApplyOptions),
    ("sequencer", c"todo", Form::Words),
    ("sequencer", c"done", Form::Words),
    ("sequencer", c"head", Form::Words),
    ("sequencer", c"opts", Form::Options),
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
            Form::Words => prints_plainly(text),
            Form::Strategy => is_strategy(text),
            Form::Options => Form::Words.holds(text) && text.split(|byte| *byte == b'\n').all(is_option),
            Form::Key => {
                let key = text.strip_prefix(b"-S").map(<[u8]>::trim_ascii_end);
                text.trim_ascii().is_empty() || key.is_some_and(|key| !key.starts_with(b"-") && Form::Words.holds(key))
            }
            Form::ApplyOptions => {
                let words = String::from_utf8_lossy(text);
                let is_known = |word: &str| APPLY_OPTIONS.iter().any(|known| word.starts_with(known));
                words.split_whitespace().map(|word| word.trim_matches('\'')).all(is_known) && Form::Words.holds(text)
            }
        }
    }

    fn why(self) -> &'static str {
        match self {
            Form::Number => "it is no number, and the prompt of a shell would obey it",
            Form::Words => "git would print it to the terminal",
            Form::Strategy | Form::Options => "git would start a program for it when the operation goes on",
            Form::Key => "git would pass it on as an option",
            Form::ApplyOptions => "git would write where it says when the operation goes on",
        }
    }
}

/// Whether a terminal obeys nothing in this text.
pub(super) fn prints_plainly(text: &[u8]) -> bool {
    !String::from_utf8_lossy(text).chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

fn is_strategy(name: &[u8]) -> bool {
    let name = name.trim_ascii();
    name.is_empty() || crate::git::is_strategy(name)
}

/// Whether a line of `sequencer/opts` names no program: git reads it as configuration.
fn is_option(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let is_plain = !line.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'#' | b';'));
    let (key, value) = line.split_at(line.iter().position(|byte| *byte == b'=').unwrap_or(line.len()));
    match key.trim_ascii().to_ascii_lowercase().as_slice() {
        b"strategy" => is_plain && is_strategy(value.get(1..).unwrap_or_default()),
        // A section and a key may share a line.
        key => line == b"[options]" || !key.contains(&b'[') && !line.ends_with(b"\\"),
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
            ("rebase-merge/strategy", "ort\n"),
            ("rebase-merge/strategy_opts", " '--ours'\n"),
            ("rebase-merge/gpg_sign_opt", "-SA B <a@b>\n"),
            ("rebase-apply/next", "1\n"),
            ("rebase-apply/gpg_sign_opt", "\n"),
            ("rebase-apply/apply-opt", " '-p1' '--whitespace=fix' '--directory=a'\n"),
            ("sequencer/opts", "[options]\n\tmainline = 1\n\tstrategy = ort\n\tstrategy-option = ours\n"),
            ("BISECT_START", "main\n"),
        ];
        let bad = [
            ("rebase-merge/msgnum", "$(touch x)\n"),
            ("rebase-merge/end", "`x`"),
            ("rebase-apply/last", "1$(x)\n"),
            ("rebase-merge/head-name", "\u{1b}]0;x\u{7}\n"),
            ("rebase-merge/done", "pick \u{9b}2J\n"),
            ("rebase-merge/strategy", "evil\n"),
            ("rebase-merge/gpg_sign_opt", "-S--output=x\n"),
            ("rebase-apply/apply-opt", " '-p1' '--build-fake-ancestor=/tmp/x'\n"),
            ("sequencer/opts", "[options] strategy = evil\n"),
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

    #[test]
    fn a_cherry_pick_starts_no_program_for_a_strategy() {
        for (text, fine) in [
            ("[options]\n\tstrategy = ort\n", true),
            ("[options]\n\tgpg-sign = \n\tedit = true\n\tstrategy-option = subtree=a/b\n", true),
            ("", true),
            ("[options]\n\tstrategy = evil\n", false),
            ("[options]\n\tSTRATEGY=evil\n", false),
            ("[options]\n\tstrategy = \"evil\"\n", false),
            ("[options]\n\tstrategy = \\\nevil\n", false),
            ("[options]\n\tedit = true\\\nstrategy = ort\n", false),
            ("[options]strategy = evil\n", false),
            ("[options]\n\tstrategy\n\t= evil\n", true),
        ] {
            assert_eq!(super::Form::Options.holds(text.as_bytes()), fine, "{text:?}");
        }
    }
}
