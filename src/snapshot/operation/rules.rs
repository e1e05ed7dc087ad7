//! What may stand in each file of an operation's state. The list is closed.

use std::path::Path;

use super::quoted::id;
use super::{quoted, todo};
use crate::git::is_strategy;

/// One file of the git folder, and what it may hold.
pub(super) struct OperationFile {
    /// Its path there.
    pub(super) name: &'static str,
    kind: RuleKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleKind {
    /// That it is there says everything.
    Flag,
    Number,
    /// Commits by their hashes, separated by white space.
    Commits,
    /// A tree by its hash; the file may be missing.
    Tree,
    /// A message: whatever it says, nobody obeys it.
    Text,
    MergeMode,
    /// `refs/heads/NAME`, or `detached HEAD`.
    Branch,
    /// A branch's short name, or a commit.
    Start,
    Steps,
    /// Author's name, address and time as quoted words.
    Author,
    /// `[options]` of a cherry-pick or revert.
    Options,
    Strategy,
    StrategyOptions,
    Sign,
    /// Quoted words in lines.
    Quoted,
    Terms,
}

const fn rule(name: &'static str, kind: RuleKind) -> OperationFile {
    OperationFile { name, kind }
}

/// Every file that travels.
pub(super) const RULES: &[OperationFile] = &[
    rule("MERGE_HEAD", RuleKind::Commits),
    rule("MERGE_MODE", RuleKind::MergeMode),
    rule("MERGE_MSG", RuleKind::Text),
    rule("SQUASH_MSG", RuleKind::Text),
    rule("MERGE_AUTOSTASH", RuleKind::Commits),
    rule("AUTO_MERGE", RuleKind::Tree),
    rule("CHERRY_PICK_HEAD", RuleKind::Commits),
    rule("REVERT_HEAD", RuleKind::Commits),
    rule("ORIG_HEAD", RuleKind::Commits),
    rule("REBASE_HEAD", RuleKind::Commits),
    rule("sequencer/head", RuleKind::Commits),
    rule("sequencer/abort-safety", RuleKind::Commits),
    rule("sequencer/todo", RuleKind::Steps),
    rule("sequencer/opts", RuleKind::Options),
    rule("rebase-merge/head-name", RuleKind::Branch),
    rule("rebase-merge/onto", RuleKind::Commits),
    rule("rebase-merge/orig-head", RuleKind::Commits),
    rule("rebase-merge/squash-onto", RuleKind::Commits),
    rule("rebase-merge/autostash", RuleKind::Commits),
    rule("rebase-merge/stopped-sha", RuleKind::Commits),
    rule("rebase-merge/amend", RuleKind::Commits),
    rule("rebase-merge/rewritten-list", RuleKind::Commits),
    rule("rebase-merge/rewritten-pending", RuleKind::Commits),
    rule("rebase-merge/git-rebase-todo", RuleKind::Steps),
    rule("rebase-merge/git-rebase-todo.backup", RuleKind::Steps),
    rule("rebase-merge/done", RuleKind::Steps),
    rule("rebase-merge/current-fixups", RuleKind::Steps),
    rule("rebase-merge/msgnum", RuleKind::Number),
    rule("rebase-merge/end", RuleKind::Number),
    rule("rebase-merge/message", RuleKind::Text),
    rule("rebase-merge/message-fixup", RuleKind::Text),
    rule("rebase-merge/message-squash", RuleKind::Text),
    rule("rebase-merge/author-script", RuleKind::Author),
    rule("rebase-merge/strategy", RuleKind::Strategy),
    rule("rebase-merge/strategy_opts", RuleKind::StrategyOptions),
    rule("rebase-merge/gpg_sign_opt", RuleKind::Sign),
    rule("rebase-merge/interactive", RuleKind::Flag),
    rule("rebase-merge/quiet", RuleKind::Flag),
    rule("rebase-merge/verbose", RuleKind::Flag),
    rule("rebase-merge/signoff", RuleKind::Flag),
    rule("rebase-merge/drop_redundant_commits", RuleKind::Flag),
    rule("rebase-merge/keep_redundant_commits", RuleKind::Flag),
    rule("rebase-merge/allow_rerere_autoupdate", RuleKind::Flag),
    rule("rebase-merge/reschedule-failed-exec", RuleKind::Flag),
    rule("rebase-merge/no-reschedule-failed-exec", RuleKind::Flag),
    rule("rebase-merge/cdate_is_adate", RuleKind::Flag),
    rule("rebase-merge/ignore_date", RuleKind::Flag),
    rule("BISECT_LOG", RuleKind::Text),
    rule("BISECT_START", RuleKind::Start),
    rule("BISECT_NAMES", RuleKind::Quoted),
    rule("BISECT_TERMS", RuleKind::Terms),
    rule("BISECT_EXPECTED_REV", RuleKind::Commits),
    // Where a bisect without a checkout stands.
    rule("BISECT_HEAD", RuleKind::Commits),
    rule("BISECT_ANCESTORS_OK", RuleKind::Flag),
    rule("BISECT_FIRST_PARENT", RuleKind::Flag),
];

/// Files that git writes for people to read and never reads itself.
pub(super) const LEFT: [&str; 1] = ["rebase-merge/patch"];

const OPTIONS: [&str; 13] = [
    "allow-empty",
    "allow-empty-message",
    "allow-ff",
    "allow-rerere-auto",
    "default-msg-cleanup",
    "drop-redundant-commits",
    "edit",
    "keep-redundant-commits",
    "mainline",
    "no-commit",
    "record-origin",
    "signoff",
    "strategy",
];

impl OperationFile {
    /// The rule for a file of the git folder.
    pub(super) fn of(name: &str) -> Option<&'static OperationFile> {
        RULES.iter().find(|rule| rule.name == name)
    }

    pub(super) fn is_tree(&self) -> bool {
        self.kind == RuleKind::Tree
    }

    /// Whether the operation goes on without it.
    pub(super) fn is_optional(&self) -> bool {
        self.is_tree() || self.name == "ORIG_HEAD"
    }

    /// Some names outlive what made them.
    pub(super) fn applies(&self, git_dir: &Path) -> bool {
        let merging = || git_dir.join("MERGE_HEAD").exists();
        let rebasing = || git_dir.join("rebase-merge").exists();
        match self.name {
            "ORIG_HEAD" => merging() || rebasing(),
            "REBASE_HEAD" => rebasing(),
            "MERGE_MODE" | "MERGE_AUTOSTASH" => merging(),
            name if name.starts_with("BISECT") => git_dir.join("BISECT_LOG").exists(),
            _ => true,
        }
    }

    /// The content as it travels, or why it cannot. Comments in lists begin with
    /// `comment`.
    pub(super) fn capture(
        &self,
        text: &[u8],
        comment: &[u8],
        resolve: &dyn Fn(&str) -> Option<git2::Oid>,
    ) -> Result<Vec<u8>, String> {
        let content = if self.kind == RuleKind::Steps { todo::expand(text, comment, resolve)? } else { text.to_vec() };
        self.check(&content)?;
        Ok(content)
    }

    /// Why this content is refused.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), String> {
        let ok = match self.kind {
            RuleKind::Flag => matches!(
                text,
                b"" | b"\n"
                    | b"t\n"
                    | b"true\n"
                    | b"--signoff\n"
                    | b"--rerere-autoupdate\n"
                    | b"--no-rerere-autoupdate\n"
            ),
            RuleKind::Number => text.len() < 12 && text.trim_ascii_end().iter().all(u8::is_ascii_digit),
            RuleKind::Commits | RuleKind::Tree => {
                text.split(u8::is_ascii_whitespace).all(|word| word.is_empty() || id(word).is_some())
            }
            RuleKind::Text => !text.contains(&0),
            RuleKind::MergeMode => matches!(text, b"" | b"no-ff" | b"no-ff\n"),
            RuleKind::Branch => text.trim_ascii_end() == b"detached HEAD" || branch(text).is_some(),
            RuleKind::Start => id(text.trim_ascii_end()).is_some() || start(text).is_some(),
            RuleKind::Steps => return todo::commits(text).map(drop),
            RuleKind::Author => is_author(text),
            RuleKind::Options => return check_options(text),
            RuleKind::Strategy => is_strategy(text.trim_ascii_end()),
            // Git takes the words apart itself, in quotes of either kind.
            RuleKind::StrategyOptions => text.iter().all(|c| is_option(*c) || b" '\"\n".contains(c)),
            RuleKind::Sign => text.strip_prefix(b"-S").is_some_and(|key| is_key(key.trim_ascii_end())),
            RuleKind::Quoted => text.split(|byte| *byte == b'\n').all(|line| quoted::words(line).is_some()),
            RuleKind::Terms => text.trim_ascii_end().split(|byte| *byte == b'\n').all(is_term),
        };
        if ok { Ok(()) } else { Err("it holds what git would not write there".into()) }
    }

    /// The objects that a content names.
    pub(super) fn names(&self, text: &[u8]) -> Vec<git2::Oid> {
        match self.kind {
            RuleKind::Commits | RuleKind::Tree => text.split(u8::is_ascii_whitespace).filter_map(id).collect(),
            RuleKind::Steps => todo::commits(text).unwrap_or_default(),
            RuleKind::Start => id(text.trim_ascii_end()).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// The branch in `refs/heads/NAME`.
pub(super) fn branch(text: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(text.trim_ascii_end()).ok()?.strip_prefix("refs/heads/")?;
    is_branch(name).then(|| name.to_owned())
}

/// The branch that a bisect began on.
pub(super) fn start(text: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(text.trim_ascii_end()).ok()?;
    (is_branch(name) && id(name.as_bytes()).is_none()).then(|| name.to_owned())
}

fn is_branch(name: &str) -> bool {
    !name.starts_with('-') && git2::Reference::is_valid_name(&format!("refs/heads/{name}"))
}

/// A word that becomes part of a ref's name and of messages.
fn is_term(word: &[u8]) -> bool {
    !word.is_empty()
        && word.len() < 64
        && word[0] != b'-'
        && word.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
}

fn is_author(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(|line| {
        let value = [b"GIT_AUTHOR_NAME=" as &[u8], b"GIT_AUTHOR_EMAIL=", b"GIT_AUTHOR_DATE="]
            .iter()
            .find_map(|name| line.strip_prefix(*name));
        value.and_then(quoted::word).is_some_and(|(_, rest)| rest.is_empty())
    })
}

/// What options of a strategy consist of: names, numbers and paths.
fn is_option(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"=%-./_:,+@".contains(&byte) || byte >= 0x80
}

/// Whose key signs: its name or that of its owner; nobody's in particular.
fn is_key(name: &[u8]) -> bool {
    !name.starts_with(b"-") && name.iter().all(|c| c.is_ascii_alphanumeric() || b" <>@._+-".contains(c) || *c >= 0x80)
}

/// `[options]`, and a key and a plain value in each line.
fn check_options(text: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|_| "its options are no text")?;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "[options]") {
        // One that has no value is cut by now.
        let line = if line.ends_with(" =") { &format!("{line} ") } else { line };
        let Some((key, value)) = line.split_once(" = ") else { return Err(format!("its option {line:?} is unknown")) };
        let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let known = match key {
            "strategy" => is_strategy(value.as_bytes()),
            "strategy-option" => value.bytes().all(is_option),
            "gpg-sign" => is_key(value.as_bytes()),
            _ => plain && OPTIONS.contains(&key),
        };
        if !known {
            return Err(format!("its option {line:?} is unknown"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[track_caller]
    fn holds(name: &str, fine: &[&str], bad: &[&str]) {
        let rule = OperationFile::of(name).unwrap();
        for text in fine {
            assert_eq!(rule.check(text.as_bytes()), Ok(()), "{name}: {text:?}");
        }
        for text in bad {
            assert!(rule.check(text.as_bytes()).is_err(), "{name}: {text:?}");
        }
    }

    #[test]
    fn case_40_each_file_holds_what_git_writes_there_and_nothing_else() {
        let ids = format!("{ID}\n{ID}\n");
        holds("MERGE_HEAD", &[&ids, ID, ""], &["main", "../x", "-x", &ID[1..], &ID.to_uppercase()]);
        holds("MERGE_MODE", &["", "no-ff"], &["no-ff; touch x", "x"]);
        holds("MERGE_MSG", &["any\n#thing $(touch x)"], &["a\0b"]);
        holds(
            "rebase-merge/head-name",
            &["refs/heads/a/b\n", "detached HEAD\n"],
            &["-x", "refs/heads/-x", "refs/heads/..", "HEAD"],
        );
        holds("rebase-merge/msgnum", &["12\n"], &["-1", "1;x", "1e9999999999"]);
        holds("rebase-merge/quiet", &["", "t\n"], &["touch evil"]);
        let author = "GIT_AUTHOR_NAME='O'\\''Hara'\nGIT_AUTHOR_EMAIL='a@b'\nGIT_AUTHOR_DATE='@1 +0000'\n";
        let evil = ["GIT_AUTHOR_NAME=$(touch x)\n", "GIT_AUTHOR_NAME='a';touch x\n", "PATH='x'\n", "touch x\n"];
        holds("rebase-merge/author-script", &[author], &evil);
        holds("rebase-merge/strategy", &["ort\n", "ours"], &["evil", "../evil", "-x"]);
        holds(
            "rebase-merge/strategy_opts",
            &[" '--ours'\n", "\"patience\" \"subtree=a/b\" \"find-renames=50%\"\n"],
            &["$(x)", "`x`", "a;b"],
        );
        holds(
            "rebase-merge/gpg_sign_opt",
            &["-S\n", "-S0123ABCD\n", "-SA B <a@b>\n"],
            &["--x", "-S--x", "-S$(x)", "x"],
        );
        holds("BISECT_START", &["main\n", ID], &["-x\n", "--upload-pack=x", "a..b"]);
        holds("BISECT_NAMES", &["\n", " 'src' 'a b'\n"], &["src; touch x\n", "$(x)\n"]);
        holds("BISECT_TERMS", &["bad\ngood\n"], &["../x\n", "-x\ny\n", ""]);
        let options = "[options]\n\tmainline = 1\n\tstrategy = ort\n\tstrategy-option = ours\n\tedit = true\n";
        holds(
            "sequencer/opts",
            &[
                options,
                "",
                "[options]\n\tgpg-sign = \n",
                "[options]\n\tgpg-sign = A <a@b>\n\tstrategy-option = subtree=x/y\n",
            ],
            &["[options]\n\tstrategy = evil\n", "[core]\n\tpager = x\n", "\tx = y\n"],
        );
    }
}
