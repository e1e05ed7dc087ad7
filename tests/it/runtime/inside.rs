//! What a command finds inside: who it is, what it can see and reach, and git.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::thread;

use crate::support::{ImageBuilder, Lab, publish};

both!(the_image_says_who_the_user_is);
fn the_image_says_who_the_user_is(lab: Lab) {
    let developer = fs::metadata(lab.dev.path("home")).unwrap().uid();
    for (user, id) in [("dev", "1000:1000"), ("1234:2345", "1234:2345"), ("1000", "1000:1000"), ("0", "0:0")] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        assert_eq!(lab.sh(&task, "echo $(id -u):$(id -g); echo x >made").trim(), id, "USER {user}");
        let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
        assert_eq!(fs::metadata(format!("{workspace}/made")).unwrap().uid(), developer, "USER {user}");
    }
}

both!(the_environment_is_the_image_s_and_nobody_else_s);
fn the_environment_is_the_image_s_and_nobody_else_s(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut call = lab.enter(&task, &["env"]);
    for name in ["SSH_AUTH_SOCK", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "XDG_RUNTIME_DIR", "LD_PRELOAD"] {
        call = call.env(name, "/nowhere/secret-of-mine");
    }
    let run = call.ok();
    assert!(!run.stdout.contains("secret-of-mine"), "{}", run.stdout);
    let names: BTreeSet<&str> = run.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in ["PATH", "HOME", "USER", "FLAVOUR", "ENVCTL_TASK", "ENVCTL_IDENTITY"] {
        assert!(names.contains(name), "no {name} in\n{}", run.stdout);
    }
    let (_, name) = task.rsplit_once(':').unwrap();
    let identity = lab.report()["identity"].as_str().unwrap().to_owned();
    for line in [format!("ENVCTL_TASK={name}"), format!("ENVCTL_IDENTITY={identity}"), "HOME=/home/dev".into()] {
        assert!(run.stdout.lines().any(|printed| printed == line), "no {line} in\n{}", run.stdout);
    }
}

both!(what_is_written_outside_the_workspace_is_gone);
fn what_is_written_outside_the_workspace_is_gone(lab: Lab) {
    lab.dev.write("home/.netrc", "machine example.org password hunter2");
    let task = lab.publish(&ImageBuilder::busybox());
    let script = "echo x >~/mine; echo x >/tmp/x; echo x >/dev/shm/x; echo x >kept; ls -A ~";
    assert_eq!(lab.sh(&task, script), "mine\n");
    let again = "ls -A ~ /dev/shm; ls /tmp/x 2>/dev/null || :; cat kept";
    assert_eq!(
        lab.sh(&task, again).lines().filter(|line| !line.ends_with(':') && !line.is_empty()).collect::<Vec<_>>(),
        ["x"]
    );
}

both!(the_host_is_out_of_sight);
fn the_host_is_out_of_sight(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let home = lab.dev.path("home");
    let shown = lab.sh(&task, &format!("ls {} 2>/dev/null || :; ls /; id -G; hostname; ulimit -c >/dev/null; cat /proc/$$/status | grep -E '^(NoNewPrivs|CapEff|CapInh)'", home.display()));
    assert!(!shown.contains("lost+found") && !shown.contains("boot"), "{shown}");
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapInh:\t0000000000000000"] {
        assert!(shown.contains(line), "no {line} in\n{shown}");
    }
}

/// Answers one HTTP request after the other until the test ends.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
        }
    });
    port
}

both!(the_network_is_isolated_unless_asked_for);
fn the_network_is_isolated_unless_asked_for(lab: Lab) {
    let port = server();
    let task = lab.publish(&ImageBuilder::busybox());
    let fetch = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 {port} | tail -n 1");
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    assert_eq!(lab.sh(&task, interfaces), "lo\n");
    assert_eq!(lab.enter(&task, &["sh", "-c", &fetch]).ok().stdout, "");
    let run = lab.dev.envctl(["enter", "--network", "host", &task, "--", "sh", "-c", &fetch]).ok();
    assert_eq!(run.stdout, "hello\n");
    // Its own loopback is up.
    let own = "echo own >/tmp/index.html; httpd -p 3000 -h /tmp
        printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 3000 | tail -n 1";
    assert_eq!(lab.sh(&task, own), "own\n");
    assert_eq!(lab.report()["receipt"]["ports"]["removed"], 1, "{}", lab.report());
}

both!(what_git_on_the_host_would_obey_is_read_only);
fn what_git_on_the_host_would_obey_is_read_only(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox().user("0"));
    let script = "
        try() { if sh -c \"$1\" 2>/dev/null; then echo \"possible: $1\"; fi; }
        try 'echo x >>.git/config'; try 'rm .git/config'; try 'mv .git/config .git/c'; try 'ln -sf /tmp .git/config'
        try 'echo x >.git/hooks/pre-commit'; try 'rmdir .git/hooks'; try 'mv .git/hooks .git/h'
        try 'echo x >.git/commondir'; try 'rm .git/commondir'; try 'mv .git .g'; try 'rm -rf .git/objects/info'
        try 'echo /tmp >>.git/objects/info/alternates'; try 'mv .git/objects .git/o'
        try 'umount .git/config'; try 'mount -o remount,rw .git/config'
        echo ok >.git/description; ls -d .git/config .git/hooks .git/commondir";
    let shown = lab.sh(&task, script);
    assert_eq!(shown.lines().collect::<Vec<_>>(), [".git/commondir", ".git/config", ".git/hooks"]);
}

#[test]
fn git_works_inside_as_outside() {
    let lab = Lab::new();
    let tools = lab.agent.path("tools");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/host-image");
    lab.agent.call(script, [tools.to_str().unwrap(), "tools"]).ok();
    lab.repo.write("staged", "s");
    lab.repo.git(&["add", "staged"]);
    lab.repo.write("README", "changed\n");
    lab.repo.write("untracked", "u");
    let image = format!("oci:{}:tools", tools.display());
    let task = publish(&lab.agent, &lab.repo, &lab.store, &image, "git");
    for words in
        [&["status", "--porcelain=v2", "--branch"][..], &["diff"], &["diff", "--cached"], &["log", "--format=%H %s"]]
    {
        let inside = lab.enter(&task, &[&["git"], words].concat()).ok().stdout;
        assert_eq!(inside.trim_end(), lab.repo.git(words), "git {words:?}");
    }
    let script = "git -c user.name=D -c user.email=d@example.org commit -qm inside && git rev-parse HEAD";
    let head = lab.sh(&task, script);
    let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
    let seen = lab.repo.seen_by(&lab.dev, workspace);
    assert_eq!(seen.head(), head.trim());
    assert_eq!(seen.git(&["log", "-1", "--format=%s"]), "inside");
    assert_eq!(seen.git(&["fsck", "--no-dangling"]), "");
}

both!(signals_have_their_default_effect);
/// A shell that starts envctl in the background has it ignore Ctrl-C.
fn signals_have_their_default_effect(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let binary = lab.dev.binary().to_str().unwrap().to_owned();
    let script = "trap '' INT QUIT HUP TERM; exec \"$@\"";
    let words = ["-c", script, "sh", &binary, "enter", &task, "--", "grep", "SigIgn", "/proc/self/status"];
    let shown = lab.dev.call("sh", words).ok().stdout;
    let ignored = u64::from_str_radix(shown.trim().rsplit('\t').next().unwrap(), 16).unwrap();
    // HUP, INT, QUIT and TERM.
    assert_eq!(ignored & 0b0100_0000_0000_0111, 0, "{shown}");
}

both!(as_another_user_of_the_image);
/// Root needs no range of ids for it.
fn as_another_user_of_the_image(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let id = |user: &str| lab.dev.envctl(["enter", "--user", user, &task, "--", "id", "-u"]).ok().stdout;
    assert_eq!((id("1234").trim(), id("0").trim()), ("1234", "0"));
    lab.dev.envctl(["enter", "--user", "1234", &task, "--", "touch", "/usr/theirs"]).code(1);
    lab.dev.envctl(["enter", "--user", "nobody-here", &task, "--", "true"]).code(125).says(&["--user nobody-here"]);
    let script = "echo x >/usr/x; chown 1234:5 /usr/x; stat -c %u:%g /usr/x; busybox su dev -c 'id -u'";
    let said = lab.dev.envctl(["enter", "--user", "0", &task, "--", "sh", "-c", script]).ok().stdout;
    assert_eq!(said, "1234:5\n1000\n");
    lab.assert_baseline();
}
