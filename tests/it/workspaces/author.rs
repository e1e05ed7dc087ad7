//! In whose name a developer commits in a workspace: as git itself would find out.

use crate::support::{Call, ImageBuilder, Lab};

/// What a commit in a fresh workspace is signed with.
#[track_caller]
fn author(lab: &Lab, task: &str, with: impl FnOnce(Call) -> Call) -> String {
    lab.dev.envctl(["workspace", "rm", "--yes", task]).run();
    let enter = lab.dev.envctl(["enter", "--no-runtime", task]).env("GIT_CONFIG_GLOBAL", lab.dev.path(".gitconfig"));
    let workspace = with(enter).ok().stdout;
    let repo = lab.repo.seen_by(&lab.dev, workspace.trim());
    let said = |key: &str| repo.call(&["config", "--local", key]).run().stdout.trim().to_owned();
    format!("{} <{}>", said("user.name"), said("user.email"))
}

#[test]
fn the_author_is_who_git_would_say() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.dev.write(".gitconfig", "[user]\n\tname = Ada\n\temail = ada@home.example\n");
    assert_eq!(author(&lab, &task, |call| call), "Ada <ada@home.example>");

    // Another address for the remotes of work.
    let home = "[user]\n\tname = Ada\n\temail = ada@home.example\n\
                [includeIf \"hasconfig:remote.*.url:file://**\"]\n\tpath = work\n";
    lab.dev.write(".gitconfig", home);
    lab.dev.write("work", "[user]\n\temail = ada@work.example\n");
    assert_eq!(author(&lab, &task, |call| call), "Ada <ada@work.example>");

    let other = lab.dev.path("other");
    lab.dev.write("other", "[user]\n\tname = Bob\n");
    let elsewhere = |call: Call| call.env("GIT_CONFIG_GLOBAL", &other).env("EMAIL", "bob@mail.example");
    assert_eq!(author(&lab, &task, elsewhere), "Bob <bob@mail.example>");

    let variables = |call: Call| call.env("GIT_AUTHOR_NAME", "Eve").env("GIT_AUTHOR_EMAIL", "eve@env.example");
    assert_eq!(author(&lab, &task, variables), "Eve <eve@env.example>");

    // Nothing is guessed where nobody has said anything.
    lab.dev.write(".gitconfig", "");
    assert_eq!(author(&lab, &task, |call| call), " <>");
}

/// Whoever says it later need not make the workspace anew.
#[test]
fn the_author_that_git_comes_to_know_later_commits_inside() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let enter = || lab.dev.envctl(["enter", &task, "--", "true"]).env("GIT_CONFIG_GLOBAL", lab.dev.path(".gitconfig"));
    enter().ok();
    let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    let repo = lab.repo.seen_by(&lab.dev, workspace.trim());
    let said = |key: &str| repo.call(&["config", "--local", key]).run().stdout.trim().to_owned();
    assert_eq!((said("user.name"), said("user.email")), (String::new(), String::new()));
    lab.dev.write(".gitconfig", "[user]\n\tname = Ada\n\temail = ada@home.example\n");
    enter().ok();
    assert_eq!((said("user.name").as_str(), said("user.email").as_str()), ("Ada", "ada@home.example"));
    // What the workspace says stays.
    lab.dev.write(".gitconfig", "[user]\n\tname = Bob\n\temail = bob@home.example\n");
    enter().ok();
    assert_eq!(said("user.name"), "Ada");
}
