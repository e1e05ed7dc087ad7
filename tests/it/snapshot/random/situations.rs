//! Situations in which checkouts are found, and compositions of them: what is
//! published can be entered, and git says the same at both ends. Each situation is
//! a script, so that a composition that fails can be played by hand.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{library, started};
use crate::support::{Facts, Repo, Trip, explore};

/// `$LIB` is the address of another repository. What does not go together with
/// what came before fails, and does nothing.
const SITUATIONS: [(&str, &str); 52] = [
    ("edits", "echo edit >>a; echo staged >>b; git add b; echo new >new; rm -f x.txt"),
    ("staged and changed again", "echo one >>d/a; git add d/a; echo two >>d/a"),
    ("line ends by new attributes", "echo '*.txt text eol=crlf' >>.gitattributes"),
    (
        "settled files, and attributes that are younger",
        "git add -A; git commit -qm s; AGE; echo '* text=auto eol=crlf' >>.gitattributes",
    ),
    (
        "an encoding that files do not have",
        "printf 'odd' >odd.txt; git add odd.txt; git commit -qm odd; AGE; echo '*.txt text working-tree-encoding=UTF-16LE' >>.gitattributes",
    ),
    ("ident", "echo 'a ident' >>.gitattributes; printf '$Id: by hand$\\n' >a; git add .gitattributes"),
    (
        "attributes that only this checkout ignores",
        "echo '*.txt eol=crlf' >d/.gitattributes; echo .gitattributes >>.git/info/exclude",
    ),
    ("attributes in info", "echo '*.txt text' >>.git/info/attributes; printf 'x\\r\\n' >crlf.txt"),
    (
        "a list of its own",
        "echo '*.private' >.git/own; git config core.excludesFile \"$PWD/.git/own\"; echo x >me.private",
    ),
    (
        "a branch on a branch",
        "b=$(git branch --show-current); git checkout -q -b \"on-$b\" --track \"$b\"; git commit -q --allow-empty -m on",
    ),
    (
        "a branch on a branch that is gone",
        "b=$(git branch --show-current); git checkout -q -b \"gone-$b\" --track \"$b\" && git branch -qD \"$b\"",
    ),
    (
        "an upstream that is gone",
        "b=$(git branch --show-current); [ -z \"$b\" ] || git config \"branch.$b.merge\" refs/heads/nowhere",
    ),
    (
        "branches fetched elsewhere",
        "git config remote.origin.fetch '+refs/heads/*:refs/remotes/else/where/*'; git for-each-ref --format='delete %(refname)' refs/remotes/origin | git update-ref --stdin; git fetch -q",
    ),
    (
        "a bisect without a checkout",
        "for i in 1 2 3 4; do git commit -q --allow-empty -m $i; done; git bisect start --no-checkout HEAD HEAD~4",
    ),
    ("a bisect", "for i in 1 2 3 4; do git commit -q --allow-empty -m $i; done; git bisect start HEAD HEAD~4"),
    (
        "a bisect with other words",
        "for i in 1 2 3 4; do git commit -q --allow-empty -m $i; done; git bisect start --term-old=fine --term-new=broken HEAD HEAD~4 -- a",
    ),
    ("a tag on nothing else", "h=$(git commit-tree -p HEAD -m tagged HEAD^{tree}); git tag -a -m words keep $h"),
    ("notes", "git notes add -f -m note"),
    (
        "a linked checkout",
        "git worktree add -q --detach ../linked-$$ && git -C ../linked-$$ commit -q --allow-empty -m linked",
    ),
    ("sparse patterns that are no text", "git sparse-checkout set --no-cone '/*' \"$(printf '!/d\\377/')\""),
    ("sparse without patterns", "git config core.sparseCheckout true; rm -f .git/info/sparse-checkout"),
    ("a cone", "git sparse-checkout set --cone d"),
    ("patterns", "git sparse-checkout set --no-cone '/*' '!/d/e'"),
    ("a sparse index", "git sparse-checkout set --cone --sparse-index d/e"),
    ("a file where none should be", "git update-index --skip-worktree b; echo here >b"),
    ("replaced", "git replace -f HEAD^{tree} $(printf '' | git mktree)"),
    ("a stash", "echo stashed >>a; git stash push -q"),
    ("a merge in conflict", "git merge -q --no-edit side"),
    ("a merge that is resolved", "git merge -q --no-edit side; git add -A"),
    (
        "a conflict that was resolved and is back",
        "git merge -q --no-edit side; echo mine >a; git add a; git checkout -q -m a",
    ),
    ("a merge without a commit", "git merge -q --no-commit --no-ff side"),
    ("a squash", "git merge -q --squash side"),
    ("a pick in conflict", "git cherry-pick side"),
    ("picks", "git cherry-pick side~1 side"),
    ("a revert in conflict", "echo later >>a; git commit -qam later; git revert --no-edit HEAD~1"),
    ("a rebase in conflict", "echo mine >a; git commit -qam mine; git rebase -q side"),
    (
        "a rebase that stops for an edit",
        "git commit -q --allow-empty -m e; GIT_SEQUENCE_EDITOR='sed -i s/^pick/edit/' git rebase -q -i HEAD~1",
    ),
    ("announced", "echo n >announced; git add -N announced d"),
    ("promises", "git update-index --assume-unchanged a; echo unseen >>a"),
    ("folders without files", "mkdir -p empty/deep d/void; rm -rf d/e"),
    ("what is no file", "mkfifo pipe; mkdir -p s; mkfifo s/pipe"),
    ("modes and links", "chmod +x a; rm -f b; ln -s nowhere b; ln -s d dl"),
    ("a file for a folder", "rm -rf d; echo file >d; rm -f a; mkdir a; echo in >a/in"),
    (
        "names",
        "echo x >\"$(printf 'no\\377text')\"; echo x >\"$(printf 'line\\nbreak')\"; echo x >' lead'; echo x >'-dash'; git add -- -dash",
    ),
    ("no branch", "git checkout -q --detach; git commit -q --allow-empty -m detached"),
    ("HEAD on another ref", "git update-ref refs/odd/one HEAD && git symbolic-ref HEAD refs/odd/one"),
    (
        "a submodule",
        "git -c protocol.file.allow=always submodule --quiet add \"$LIB\" sub; (cd sub && git checkout -q -b fix && git commit -q --allow-empty -m fix && git checkout -q -)",
    ),
    (
        "settings",
        "git config core.autocrlf input; git config core.commentChar ';'; git config rerere.enabled true; printf 'a\\r\\n' >cr",
    ),
    ("an index of another form", "git update-index --index-version 4; git update-index --split-index"),
    ("packed", "git pack-refs --all; git gc -q"),
    ("pushed", "git add -A; git commit -qm p; git push -q -f origin HEAD:refs/heads/$(basename \"$PWD\")"),
    ("a lock that was left", ">.git/index.lock"),
];

/// Makes tracked files older than the index, each time by more: git compares whole
/// seconds only, and would not look at a file again that is as old as before.
const AGE: &str = "n=$(cat .git/age 2>/dev/null || echo 10); echo $((n + 5)) >.git/age
  git ls-files -z | xargs -0 touch -h -c -d \"-$n seconds\" -- 2>/dev/null; git update-index -q --refresh";

/// What may be refused: no clone could have what it builds on, or nobody could
/// know how it goes on.
const REFUSALS: [&str; 4] = [
    // Git itself cannot add such a file.
    "failed to encode",
    "no branch of the remote",
    "only announced, without a commit",
    "the submodule",
];

/// What may stay behind, so that git says something else where it arrives.
const STAYS: [&str; 2] = ["git does not track", "cannot go on elsewhere"];

/// One or more situations, as a script.
#[derive(Clone)]
struct Composition(Vec<usize>);

impl std::fmt::Debug for Composition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.0.iter().map(|n| SITUATIONS[*n]).map(|(name, script)| format!("\n  # {name}\n  {script}"));
        write!(f, "in a clone with a branch `side` that disagrees:{}", lines.collect::<String>())
    }
}

fn compositions() -> impl Strategy<Value = Composition> {
    vec(select((0..SITUATIONS.len()).collect::<Vec<_>>()), 1..5).prop_map(Composition)
}

/// What git shows for reasons that stay with the checkout, taken away from it.
const PLAIN: &str = "git replace -l | xargs -r git replace -d >/dev/null
case $(cat .git/HEAD) in ref:\\ refs/heads/*|[0-9a-f]*) ;; *) git rev-parse HEAD >.git/HEAD.new; mv .git/HEAD.new .git/HEAD;; esac
case $(git config remote.origin.fetch) in *else/where*) git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
  git for-each-ref --format='delete %(refname)' refs/remotes/else | git update-ref --stdin; git fetch -q;; esac";

/// Whether it arrives; no, when it is refused for a reason.
#[track_caller]
fn arrives(trip: &Trip, repo: &Repo) -> bool {
    let task = trip.lab.next_task();
    let run = trip.publishing(repo, &task).run();
    if run.code != 0 && REFUSALS.iter().any(|words| run.stderr.contains(words)) {
        return false;
    }
    let run = run.ok();
    let workspace = trip.enter(&trip.lab.store.reference(&task));
    if STAYS.iter().any(|words| run.stderr.contains(words)) {
        return false;
    }
    repo.sh(&format!("rm -f .git/index.lock; {PLAIN}")).run();
    let submodule = repo.path.join("sub/.git").exists();
    let facts = |side: &Repo| {
        let mut facts = Facts::of(side);
        let bisect = side.call(&["rev-parse", "--quiet", "--verify", "BISECT_HEAD"]).run().stdout;
        facts.0.insert("bisect", bisect);
        if submodule { facts.without("files") } else { facts }
    };
    facts(repo).assert_same(&facts(&workspace));
    true
}

#[test]
fn compositions_of_situations() {
    let trip = Trip::new();
    let library = library(&trip);
    let (tried, refused) = (Cell::new(0), Cell::new(0));
    explore(40, compositions(), |n, Composition(chosen)| {
        let repo = prepared(&trip, n);
        let script = chosen.iter().map(|at| SITUATIONS[*at].1.replace("AGE", AGE)).collect::<Vec<_>>();
        for part in script {
            repo.sh(&format!("LIB='{library}'; {part}")).env("GIT_EDITOR", "true").run();
        }
        tried.set(tried.get() + 1);
        // Of some states git itself cannot say anything.
        if repo.call(&["--no-optional-locks", "status"]).run().code == 0 {
            refused.set(refused.get() + usize::from(!arrives(&trip, &repo)));
        }
    });
    assert!(refused.get() <= tried.get() / 3, "{} of {} were refused: hardly a test", refused.get(), tried.get());
}

/// A clone, and a branch that disagrees with it.
fn prepared(trip: &Trip, n: usize) -> Repo {
    let repo = started(trip, n);
    repo.sh("git checkout -q -b side; for f in a d/a; do echo side >$f; done; git commit -qam one; echo two >side; git add side; git commit -qm two; git checkout -q -").ok();
    repo
}
