//! Images and programs that try to get out, by number.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{Alive, Entry, ImageBuilder, Lab, Layer, Outside, Terminal, until};

/// What a process holds: what each descriptor leads to, and its device.
fn held(pid: &str) -> Vec<(String, u64)> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let look = |fd: fs::DirEntry| {
        let target = fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned();
        Some((target, fs::metadata(fd.path()).map_or(0, |meta| meta.dev())))
    };
    fds.filter_map(look).collect()
}

/// Descriptors of a process of ours that are neither sockets and the like nor,
/// where that is allowed, folders of the runtime's own mounts.
fn strange(pid: &str, own_tree: bool) -> Vec<String> {
    let device = |path: &str| fs::metadata(format!("/proc/{pid}/root{path}")).map_or(0, |meta| meta.dev());
    let tree = ["/", "/run", "/dev/pts"].map(|path| (path.to_owned(), device(path)));
    let is_known = |one: &(String, u64)| {
        let kinds = ["socket:[", "pipe:[", "anon_inode:[signalfd]", "anon_inode:[pidfd]", "pidfd:"];
        one.0 == "/dev/null" || kinds.iter().any(|kind| one.0.starts_with(kind)) || own_tree && tree.contains(one)
    };
    held(pid).into_iter().filter(|one| !is_known(one)).map(|(target, _)| target).collect()
}

fn with(entries: impl IntoIterator<Item = Entry>) -> ImageBuilder {
    ImageBuilder::busybox().layer(Layer::new(entries))
}

both!(case_28_no_descriptor_of_the_host_reaches_the_inside);
fn case_28_no_descriptor_of_the_host_reaches_the_inside(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    let task = lab.publish(&ImageBuilder::busybox());
    let list = "ls /proc/$$/fd/; :";
    let open = "exec 7<\"$0\" 8<. 9>>\"$0\"; exec \"$@\"";
    let binary = lab.dev.binary().to_str().unwrap();
    let sentinel = outside.sentinel();
    let run = lab.dev.call("sh", ["-c", open, &sentinel, binary, "enter", &task, "--", "sh", "-c", list]).ok();
    let numbers: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(numbers, ["0", "1", "2"], "{}", run.stdout);
    outside.assert_untouched();
}

both!(case_28_pid_1_holds_nothing_of_the_host_either);
fn case_28_pid_1_holds_nothing_of_the_host_either(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let init = Alive::lease(&lab)["init"]["pid"].to_string();
    // The command may speak before pid 1 has seen that it started, and has
    // closed the pipe that would have told of a failure.
    until("pid 1 holds nothing else", || strange(&init, true).is_empty());
    // Three streams, signals, the root, `/run` and the terminals inside, and
    // a socket each for the owner, for those who join, for the lock, and for
    // the command's client.
    let open = held(&init);
    assert!((10..=11).contains(&open.len()), "{open:?}");
    // Nobody inside may look.
    let peek = lab.dev.envctl(["exec", &task, "--", "ls", "-l", "/proc/1/fd/"]).run();
    assert!(!peek.stdout.contains("->"), "{}", peek.stdout);
    alive.kill_owner().assert_gone();
    outside.assert_untouched();
}

/// The files and folders that a process holds of other mounts than these.
fn of_the_host(pid: &str, mounts: &BTreeSet<&str>) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let look = |fd: fs::DirEntry| {
        let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().display());
        let info = fs::read_to_string(info).unwrap_or_default();
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim)?;
        let target = fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned();
        (target.starts_with('/') && !mounts.contains(mount)).then_some(target)
    };
    fds.filter_map(look).collect()
}

/// All that a process and those below it hold that is of the host, as often as
/// possible while something is done.
fn strange_meanwhile(init: &str, doing: impl FnOnce()) -> (BTreeSet<String>, usize) {
    let over = AtomicBool::new(false);
    // A descriptor is of a mount, and those of the runtime are numbered here.
    let mounts = fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap();
    let inside: BTreeSet<&str> = mounts.lines().filter_map(|line| line.split(' ').next()).collect();
    let own = fs::File::open("/").unwrap();
    assert!(!of_the_host("self", &inside).is_empty(), "this would be seen");
    drop(own);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut found, mut looks) = (BTreeSet::new(), 0);
            while !over.load(Ordering::Relaxed) {
                let mut pending = vec![init.to_owned()];
                while let Some(pid) = pending.pop() {
                    let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
                    pending.extend(below.split_whitespace().map(str::to_owned));
                    found.extend(of_the_host(&pid, &inside));
                }
                looks += 1;
            }
            (found, looks)
        });
        doing();
        over.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    })
}

both!(case_28_pid_1_holds_nothing_of_the_host_while_it_serves);
/// Not only at rest: nothing of the host is held while requests are served, by pid 1
/// or by what it starts.
fn case_28_pid_1_holds_nothing_of_the_host_while_it_serves(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let init = Alive::lease(&lab)["init"]["pid"].to_string();
    until("pid 1 holds nothing else", || strange(&init, true).is_empty());
    let dev = &lab.dev;
    let (found, looks) = strange_meanwhile(&init, || {
        for _ in 0..5 {
            dev.envctl(["exec", &task, "--", "true"]).ok();
            dev.envctl(["exec", &task, "--", "sh", "-c", "echo x; sleep 0.05"]).ok();
            dev.envctl(["exec", &task, "--", "no-such-program"]).code(127);
            dev.envctl(["ports", "add", &task, "3000"]).run();
            dev.envctl(["ports", "ls", &task]).run();
            dev.envctl(["extend", &task, "1h"]).run();
        }
    });
    assert!(looks > 20, "{looks}");
    assert!(found.is_empty(), "{found:?}");
    alive.kill_owner().assert_gone();
}

#[test]
fn case_28_the_working_directory_is_inside() {
    let lab = Lab::new();
    let config = json!({ "Env": ["PATH=/bin"], "User": "dev", "WorkingDir": "/proc/self/fd/7" });
    let task = lab.publish(&ImageBuilder::busybox().config_field("/config", config));
    assert_eq!(lab.sh(&task, "pwd"), "/workspace\n");
    let image = lab.images.add("plain", &ImageBuilder::busybox()).reference;
    for workdir in ["/proc/self/fd/7", "/", "/dev/x", "/run", "/sys/a", "/a/../proc", "relative"] {
        lab.try_publish(&image).args(["--workdir", workdir]).code(2).says(&["error:", workdir]);
    }
}

both!(case_31_devices_are_not_those_of_the_image);
fn case_31_devices_are_not_those_of_the_image(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    let sentinel = outside.sentinel();
    for entries in [
        vec![Entry::dir("dev/"), Entry::symlink("dev/null", sentinel.as_str())],
        vec![Entry::dir("dev/"), Entry::file("dev/null", "no device"), Entry::dir("dev/console/")],
        vec![Entry::dir("dev/"), Entry::symlink("dev/console", sentinel.as_str()), Entry::symlink("dev/pts", "/etc")],
        vec![Entry::dir("dev/"), Entry::symlink("dev/shm", outside.folder())],
    ] {
        let task = lab.publish(&with(entries));
        let script = "echo gone >/dev/null; echo x >/dev/shm/x; stat -c %F:%t:%T /dev/null /dev/zero /dev/urandom";
        let shown = lab.sh(&task, script);
        let expected = ["character special file:1:3", "character special file:1:5", "character special file:1:9"];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }
    outside.assert_untouched();
}

/// A place of the image that is a link to a folder of the host is refused,
/// although it could only lead to a place inside.
fn refused(lab: &Lab, entry: Entry, name: &str) {
    let task = lab.publish(&with([entry]));
    lab.enter(&task, &["true"]).code(125).says(&["error:", name, "symbolic link", "hint:"]);
    assert_eq!(lab.report()["error"]["kind"], "integrity");
    lab.assert_baseline();
}

both!(case_31_a_dev_that_is_a_link);
fn case_31_a_dev_that_is_a_link(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    refused(&lab, Entry::symlink("dev", outside.folder()), "/dev");
    refused(&lab, Entry::symlink("dev", "/etc"), "/dev");
    refused(&lab, Entry::file("dev", "a file"), "/dev");
    outside.assert_untouched();
}

both!(case_32_proc_and_sys_that_are_links);
fn case_32_proc_and_sys_that_are_links(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    for name in ["proc", "sys"] {
        refused(&lab, Entry::symlink(name, outside.folder()), name);
        refused(&lab, Entry::symlink(name, "etc"), name);
        refused(&lab, Entry::file(name, "a file"), name);
    }
    outside.assert_untouched();
}

both!(case_32_proc_is_the_sandbox_s_own_and_cannot_turn_knobs);
fn case_32_proc_is_the_sandbox_s_own_and_cannot_turn_knobs(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox().user("0"));
    let script = "ls /proc | grep -c '^[0-9]'; stat -f -c %T /proc /sys
        for knob in sys/kernel/hostname sys/vm/swappiness sysrq-trigger sys/net/ipv4/ip_forward; do
            (echo 1 >/proc/$knob) 2>/dev/null && echo \"wrote $knob\"
        done
        cat /proc/kcore 2>/dev/null | wc -c; mount -t proc proc /tmp 2>/dev/null && echo mounted; :";
    let shown = lab.sh(&task, script);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() <= 5, "{shown}");
    assert_eq!(lines[1..], ["proc", "sysfs", "0"], "{shown}");
}

both!(case_33_mount_targets_that_are_links);
fn case_33_mount_targets_that_are_links(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    let (folder, sentinel) = (outside.folder(), outside.sentinel());
    let up = format!("../../../../../..{folder}");
    for (place, target) in [
        ("workspace", folder.as_str()),
        ("workspace", &up),
        ("workspace", "/proc/1/root"),
        ("workspace", "/proc/self/cwd"),
        ("home/dev", &folder),
        ("home", &up),
        ("run", &folder),
        ("tmp", &folder),
        ("etc/hosts", &sentinel),
        ("etc/resolv.conf", &sentinel),
    ] {
        let image = with([Entry::symlink(place, target)]);
        let image = lab.images.add(&format!("case-33-{}", place.replace('/', "-")), &image).reference;
        let publish = lab.try_publish(&image).args(["--workdir", "/workspace/a/b"]).ok();
        let task = publish.stdout.trim().strip_prefix("envctl enter ").unwrap();
        for network in ["isolated", "host"] {
            let script = "echo made >made-inside; cat made-inside; rm made-inside";
            let run = lab.dev.envctl(["enter", "--network", network, task, "--", "sh", "-c", script]).run();
            match run.code {
                0 => assert_eq!(run.stdout, "made\n", "{place} -> {target}"),
                125 => drop(run.says(&["error:"])),
                code => panic!("{place} -> {target}: exit code {code}\n{}", run.stderr),
            }
            outside.assert_untouched();
            lab.assert_baseline();
        }
    }
}

both!(case_35_the_inside_never_gets_the_caller_s_terminal);
fn case_35_the_inside_never_gets_the_caller_s_terminal(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    // A terminal all the way: a new one, in a new session.
    let script = "tty; cut -d' ' -f6 /proc/$$/stat; echo $$";
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task, "--", "sh", "-c", script], (24, 80));
    terminal.sees("/dev/pts/0");
    assert_eq!(terminal.ends(), Some(0));
    // The terminal on stdin only: no controlling terminal to push to.
    let out = lab.dev.path("home/out");
    let inside = "exec >&2; (: </dev/tty) 2>/dev/null && echo has-a-terminal; cut -d' ' -f7 /proc/$$/stat; echo over";
    let outer = format!("{} enter {task} -- sh -c \"$0\" >{}", lab.dev.binary().display(), out.display());
    let mut terminal = Terminal::shell(&lab.dev, &outer, inside);
    terminal.sees("0\r\nover");
    assert_eq!(terminal.ends(), Some(0));
}

/// Forks twice, leaves the session, ignores what can be ignored.
const DAEMON: &str = "trap '' HUP TERM INT
    (setsid sh -c 'trap \"\" HUP TERM INT; (sleep 1000; :) & sleep 1000; :' \"$0\" </dev/null >/dev/null 2>&1 &)";

both!(case_37_nothing_survives_the_owner);
fn case_37_nothing_survives_the_owner(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, DAEMON);
    until("both run", || alive.marker.processes().len() >= 3);
    alive.kill_owner().assert_gone();
    // The next command of any kind finds the rest.
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["leases"], json!([]));
    lab.assert_baseline();
    let receipts = lab.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0]["reason"], "owner-died");
    assert_eq!(receipts[0]["baseline"], true);
}

both!(case_37_nothing_survives_the_command);
fn case_37_nothing_survives_the_command(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let marker = crate::support::Marker::new();
    lab.enter(&task, &["sh", "-c", DAEMON, &marker.0]).ok();
    assert!(marker.processes().is_empty(), "{:?}", marker.processes());
    let receipt = &lab.report()["receipt"];
    assert!(receipt["processes"]["removed"].as_u64().unwrap() >= 1, "{receipt}");
    assert_eq!(receipt["processes"]["left"], 0);
    lab.assert_baseline();
}

both!(case_37_nothing_survives_pid_1);
fn case_37_nothing_survives_pid_1(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, DAEMON);
    let pid = Alive::lease(&lab)["init"]["pid"].as_i64().unwrap() as i32;
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    alive.marker.assert_gone();
    let (code, said) = alive.wait();
    assert_eq!(code, Some(137), "{said}");
    lab.assert_baseline();
}

both!(case_29_what_our_own_processes_hold);
/// Every process of ours that lives beside or inside a runtime holds what it
/// needs and nothing else.
fn case_29_what_our_own_processes_hold(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    let task = lab.publish(&ImageBuilder::busybox());
    let open = "exec 7<\"$0\" 8<. 9>>\"$0\"; exec \"$@\"";
    let binary = lab.dev.binary().to_str().unwrap();
    let words = ["-c", open, &outside.sentinel(), binary, "enter", "--detach", "--json", "-p", "3000", &task];
    let lease = lab.dev.call("sh", words).ok().json();
    let runtime = format!("/runtimes/{}", lease["id"].as_str().unwrap());
    let init = lease["init"]["pid"].to_string();
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    let forwarder = children.split_whitespace().next().unwrap().to_owned();
    for (who, pid) in
        [("pid 1", &init), ("the forwarder", &forwarder), ("the supervisor", &lease["owner"]["pid"].to_string())]
    {
        let mut strange = strange(pid, who == "pid 1");
        // The supervisor is outside, and holds the lock.
        // It watches the workspace, too.
        let workspace = lease["workspace"].as_str().unwrap();
        let watched = format!("{workspace}/.git/");
        let outside = |target: &str| {
            target.ends_with(&runtime)
                || target == workspace
                || target == format!("{workspace}/.git")
                || target.starts_with(&watched)
                || target == "anon_inode:inotify"
        };
        strange.retain(|target| !(who == "the supervisor" && outside(target)));
        assert_eq!(strange, [""; 0], "{who}");
    }
    // Two listening sockets, the way to pid 1, and three streams.
    assert_eq!(held(&forwarder).len(), 6, "{:?}", held(&forwarder));
    lab.dev.envctl(["reset", &task]).ok();
    outside.assert_untouched();
    lab.assert_baseline();
}
