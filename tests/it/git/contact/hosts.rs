//! Which host git goes to.

use super::{Far, Server, far, files};

both!(ssh_is_started_for_the_account_host_and_port_that_were_approved, far);
fn ssh_is_started_for_the_account_host_and_port_that_were_approved(far: Far) {
    let task = far.task("ssh://git@approved.example:2222/shop.git");
    far.entering(&task, &far.serve()).code(6).says(&["envctl approve --host ssh://approved.example:2222"]);
    for other in
        ["https://approved.example:2222", "approved.example", "ssh://other.example:2222", "oci://approved.example:2222"]
    {
        far.approve(other);
        far.entering(&task, &far.serve()).code(6);
    }
    assert_eq!(far.calls(), Vec::<String>::new());
    far.approve("ssh://approved.example:2222");
    far.entering(&task, &far.serve()).ok();
    // A path in another encoding is a path all the same.
    let latin = far.task("ssh://git@approved.example:2222/caf%e9/shop.git");
    far.entering(&latin, &far.serve()).ok();
    let calls = far.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    let call = &calls[0];
    assert!(call.contains("-p 2222 git@approved.example git-upload-pack"), "{call}");
    assert!(call.contains("BatchMode=yes"), "{call}");
}

#[test]
fn addresses_in_which_git_finds_another_host_are_refused() {
    let far = Far::new(crate::support::Trip::new());
    far.approve("approved.example");
    for url in [
        "ssh://git@approved.example/x@[other.example]/y",
        "ssh://git@approved.example/x%40%5Bother.example%5D/y",
        "ssh://other.example%2f@approved.example/x",
        "approved.example:x@[other.example]:y",
        "ssh://$(id)@approved.example/x",
        "ssh://-oProxyCommand=id@approved.example/x",
        "ssh://approved.example:22@other.example:x/y",
    ] {
        let run = far.entering(&far.task(url), "exit 255").run();
        assert!(run.code != 0 && far.calls().is_empty(), "{url}: {} {:?}", run.stderr, far.calls());
    }
}

both!(what_a_rule_of_git_makes_of_an_address_is_judged, far);
/// The developer's own rules of git are applied, and looked at.
fn what_a_rule_of_git_makes_of_an_address_is_judged(far: Far) {
    let config = far.dev().path("home/.gitconfig");
    far.dev().write(&config, "[url \"ssh://git@gateway.example\"]\n insteadOf = https://approved.example\n");
    let entering = |url: &str| far.entering(&far.task(url), &far.serve()).env("GIT_CONFIG_GLOBAL", &config);
    // The rule leads there although its prefix is only the beginning of the host.
    entering("https://approved.example.other.example/x").code(6).says(&["ssh://gateway.example.other.example"]);
    entering("https://approved.example/x").code(6);
    assert_eq!(far.calls(), Vec::<String>::new());
    // The developer's own word for both: that they trust the one, and where it is.
    far.approve("approved.example");
    entering("https://approved.example/x").ok();
    assert!(far.calls().iter().all(|call| call.contains("git@gateway.example git-upload-pack")), "{:?}", far.calls());
}

both!(a_rule_is_for_whole_names_and_is_the_developers_word, far);
fn a_rule_is_for_whole_names_and_is_the_developers_word(far: Far) {
    let rule = "[[url]]\nfrom = \"https://approved.example\"\nto = \"ssh://git@gateway.example\"\n";
    far.dev().write("config/envctl/config.toml", rule);
    let other = far.task("https://approved.example.other.example/x");
    far.entering(&other, &far.serve()).code(6).says(&["https://approved.example.other.example"]);
    assert_eq!(far.calls(), Vec::<String>::new());
    far.entering(&far.task("https://approved.example/x"), &far.serve()).ok();
    assert!(far.calls()[0].contains("git@gateway.example"), "{:?}", far.calls());
}

/// The base came by ssh; another task names the same repository without TLS.
#[test]
fn nothing_is_asked_without_approval_although_the_base_is_here() {
    let far = Far::new(crate::support::Trip::new());
    let server = Server::new(|_, _| super::wants_a_password());
    far.approve(&server.host);
    let url = format!("ssh://git@{}/shop.git", server.host);
    far.entering(&far.task(&url), &far.serve()).ok();
    let plain = format!("http://{}/shop.git", server.host);
    far.entering(&far.task_with_another_ref(&plain), &far.serve()).run();
    assert_eq!(server.asked(), []);
    // With it, it is asked.
    far.approve(&format!("http://{}", server.host));
    far.entering(&far.task_with_another_ref(&plain), &far.serve()).run();
    assert_ne!(server.asked(), []);
}

/// Whoever can write to a registry could name any repository of which commits are here.
#[test]
fn commits_that_are_here_are_shown_to_no_strangers_task_unasked() {
    let far = Far::new(crate::support::Trip::new());
    far.approve("ssh://approved.example");
    let task = far.task("ssh://git@approved.example/shop.git");
    far.entering(&task, &far.serve()).ok();
    far.dev().envctl(["approve", "--revoke", "ssh://approved.example"]).ok();
    let registry = crate::support::Liar::honest(&far.trip.lab.store);
    let theirs = registry.task(task.rsplit_once(':').unwrap().1);
    let calls = far.calls().len();
    let words = ["is not approved", "envctl approve --host ssh://approved.example"];
    far.entering(&theirs, &far.serve()).code(6).says(&words);
    far.approve("ssh://approved.example");
    far.entering(&theirs, &far.serve()).ok();
    assert_eq!(far.calls().len(), calls, "nobody had to be asked for them");
}

both!(a_redirect_to_another_host_is_told_and_not_followed, far);
fn a_redirect_to_another_host_is_told_and_not_followed(far: Far) {
    far.trip.lab.repo.seen_by(&far.trip.lab.agent, &far.trip.lab.repo.remote).git(&["update-server-info"]);
    let serve = files(&far.trip.lab.repo.remote, "/shop.git/");
    let other = Server::new(move |path, _| serve(path));
    let to = format!("302 Found\r\nLocation: http://{}/shop.git/info/refs?service=git-upload-pack", other.host);
    let first = Server::new(move |_, _| (to.clone(), Vec::new()));
    far.approve(&format!("http://{}", first.host));
    let task = far.task(&format!("http://{}/x.git", first.host));
    for setting in ["false", "true"] {
        // The developer's own settings are for other uses of git.
        let config = far.dev().path("home/.gitconfig");
        let text = format!(
            "[http]\n followRedirects = {setting}\n[http \"http://{}\"]\n followRedirects = true\n",
            first.host
        );
        far.dev().write(&config, text);
        let entering = far.entering(&task, "exit 255").env("GIT_CONFIG_GLOBAL", &config);
        entering.code(6).says(&[&format!("envctl approve --host http://{}", other.host)]);
    }
    assert_eq!(other.asked(), []);
    far.approve(&format!("http://{}", other.host));
    far.entering(&task, "exit 255").ok();
    assert_ne!(other.asked(), []);
}

/// A repository that was renamed on its host.
#[test]
fn a_redirect_on_the_same_host_is_followed() {
    let far = Far::new(crate::support::Trip::new());
    far.trip.lab.repo.seen_by(&far.trip.lab.agent, &far.trip.lab.repo.remote).git(&["update-server-info"]);
    let serve = files(&far.trip.lab.repo.remote, "/new/shop.git/");
    let server = Server::new(move |path, _| match path.strip_prefix("/old/shop/") {
        Some(rest) => (format!("301 Moved\r\nLocation: /new/shop.git/{rest}"), Vec::new()),
        None => serve(path),
    });
    far.approve(&format!("http://{}", server.host));
    far.entering(&far.task(&format!("http://{}/old/shop", server.host)), "exit 255").ok();
}

both!(an_address_is_no_setting_of_git, far);
/// An address becomes part of a setting's name, which on a command line would end
/// at its first `=`: nothing behind that is a setting.
fn an_address_is_no_setting_of_git(far: Far) {
    far.trip.lab.repo.seen_by(&far.trip.lab.agent, &far.trip.lab.repo.remote).git(&["update-server-info"]);
    let proxy = Server::new(|_, _| ("502 Bad Gateway".into(), Vec::new()));
    let path = format!("/x/.proxy=http://{}/shop.git", proxy.host);
    let serve = files(&far.trip.lab.repo.remote, "");
    let below = format!("{path}/");
    let server = Server::new(move |path, _| serve(path.strip_prefix(&below).unwrap_or("/none")));
    far.approve(&format!("http://{}", server.host));
    far.entering(&far.task(&format!("http://{}{path}", server.host)), "exit 255").ok();
    assert_eq!(proxy.asked(), []);
    assert_ne!(server.asked(), []);
}

both!(the_short_form_of_ssh_stays_relative, far);
/// The short form of ssh means a path that begins where the server says.
fn the_short_form_of_ssh_stays_relative(far: Far) {
    far.approve("ssh://approved.example");
    for (url, path) in [
        ("git@approved.example:repos/shop.git", "'repos/shop.git'"),
        ("git@approved.example:/repos/shop.git", "'/repos/shop.git'"),
        ("ssh://git@approved.example/repos/shop.git", "'/repos/shop.git'"),
    ] {
        // As if nothing had been fetched.
        let repos = far.dev().data().join("repos");
        let _ = std::fs::rename(&repos, repos.with_extension(far.calls().len().to_string()));
        far.entering(&far.task(url), &far.serve()).ok();
        let calls = far.calls();
        let last = calls.last().unwrap();
        assert!(last.ends_with(&format!("git@approved.example git-upload-pack {path}")), "{url}: {last}");
    }
}

both!(the_mirror_of_another_repository_is_not_taken_for_ours, far);
/// Two addresses may have one short key; here a rename makes it so.
fn the_mirror_of_another_repository_is_not_taken_for_ours(far: Far) {
    far.approve("ssh://approved.example");
    let repos = far.dev().data().join("repos");
    let mirrors = || {
        let all = std::fs::read_dir(&repos).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some()).collect::<Vec<_>>()
    };
    let (ours, theirs) = ("ssh://git@approved.example/ours.git", "ssh://git@approved.example/theirs.git");
    far.entering(&far.task(theirs), &far.serve()).ok();
    let other = mirrors().remove(0);
    std::fs::rename(&other, repos.join("kept")).unwrap();
    far.entering(&far.task(ours), &far.serve()).ok();
    let place = mirrors().remove(0);
    std::fs::rename(&place, repos.join("other")).unwrap();
    std::fs::rename(repos.join("kept"), &place).unwrap();
    let run = far.entering(&far.task(ours), &far.serve()).code(6);
    run.says(&["is the mirror of approved.example/theirs", "approved.example/ours"]);
}
