//! Ways by which a task has reached for the developer's files, programs and
//! other runtimes. Each must end with nothing read, changed or run outside.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;

use crate::support::{Alive, Entry, ImageBuilder, Lab, Layer, Outside};

/// Where a link could lead from within a process: its descriptors, its program,
/// its root and its working folder, and those of others.
fn ways() -> Vec<String> {
    let mut ways = Vec::new();
    for process in ["/proc/self", "/proc/1", "/proc/thread-self"] {
        ways.extend((0..24).map(|number| format!("{process}/fd/{number}")));
        ways.extend(["root", "cwd", "exe"].map(|name| format!("{process}/{name}")));
    }
    ways
}

/// From a folder of the runtime's state, or one inside, to a file of the
/// developer's.
fn to_file(lab: &Lab, way: &str, name: &str) -> String {
    let home = lab.dev.path("").to_string_lossy().into_owned();
    format!("{way}/../../../../../../../..{home}/{name}")
}

both!(a_shell_of_the_image_leads_to_no_program_of_the_host);
fn a_shell_of_the_image_leads_to_no_program_of_the_host(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    // It needs no loader of the image, and says what it reads.
    lab.dev.write("tool", fs::read("/bin/busybox").unwrap());
    fs::set_permissions(lab.dev.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let passwd = "dev:x:1000:1000::/home/dev:/opt/cat\n";
    // Where pid 1 has held a folder of the host.
    for way in (3..9).map(|number| format!("/proc/self/fd/{number}")) {
        let links = [
            Entry::file("etc/passwd", passwd),
            Entry::dir("opt/"),
            Entry::symlink("opt/cat", to_file(&lab, &way, "tool").as_str()),
        ];
        let task = lab.publish(&ImageBuilder::busybox().layer(Layer::new(links)));
        // Without a login shell that can be executed it is /bin/sh.
        let run = lab.dev.envctl(["enter", &task]).stdin("echo inside; exit 0\n").run();
        assert_eq!(run.stdout, "inside\n", "{way}: {}", run.stderr);
    }
    outside.assert_untouched();
}

both!(a_command_leads_to_no_program_of_the_host);
fn a_command_leads_to_no_program_of_the_host(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    lab.dev.write("tool", "#!/bin/sh\necho reached\n");
    fs::set_permissions(lab.dev.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let task = lab.publish(&ImageBuilder::busybox());
    let links: Vec<String> = ways().iter().map(|way| to_file(&lab, way, "tool")).collect();
    let script = format!(
        "n=0; for way in {}; do n=$((n+1)); mkdir -p l/$n; ln -sf $way l/$n/tool; done; echo $n",
        links.join(" ")
    );
    let count: usize = lab.sh(&task, &script).trim().parse().unwrap();
    let alive = Alive::start(&lab, &task, "");
    for number in 1..=count {
        let program = format!("l/{number}/tool");
        let run = lab.dev.envctl(["exec", &task, "--", &program]).run();
        assert!([126, 127].contains(&run.code), "{number}: {} {}", run.code, run.stdout);
        assert_eq!(run.stdout, "", "{number}");
    }
    alive.kill_owner().assert_gone();
    outside.assert_untouched();
}

/// The developer's envctl, in a place where they may change it.
fn own_binary(lab: &Lab) -> std::path::PathBuf {
    let copy = lab.dev.path("own-envctl");
    fs::copy(lab.dev.binary(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let home = fs::metadata(lab.dev.path("")).unwrap();
    std::os::unix::fs::chown(&copy, Some(home.uid()), Some(home.gid())).unwrap();
    copy
}

/// What the kernel starts as the loader of a program that is linked
/// dynamically: it changes the mode of the program that it was to load.
const LOADER: &str = r#"
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
void _start(void) {
    call(90, (long)"/proc/self/exe", 04777, 0);          /* chmod */
    call(188, (long)"/proc/self/exe", (long)"user.x", 0); /* setxattr */
    call(1, 1, (long)"loaded\n", 7);
    call(231, 0, 0, 0);
}
"#;

both!(the_program_of_pid_1_is_out_of_reach);
#[cfg(target_arch = "x86_64")]
fn the_program_of_pid_1_is_out_of_reach(lab: Lab) {
    let binary = own_binary(&lab);
    let before = fs::metadata(&binary).unwrap();
    lab.agent.write("loader.c", LOADER);
    let flags = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-o", "loader", "loader.c"];
    lab.agent.call("gcc", flags).cwd(lab.agent.path("")).ok();
    let loader = fs::read(lab.agent.path("loader")).unwrap();
    let layer = Layer::new([
        Entry::dir("lib64/"),
        Entry::program("lib64/ld-linux-x86-64.so.2", loader),
        Entry::program("self", "#!/proc/self/exe\n"),
        Entry::program("thread", "#!/proc/thread-self/exe\n"),
        Entry::symlink("link", "/proc/self/exe"),
    ]);
    let task = lab.publish(&ImageBuilder::busybox().layer(layer));
    for program in ["/self", "/thread", "/link"] {
        let words = ["-c", "exec \"$@\"", "sh", binary.to_str().unwrap(), "enter", &task, "--", program];
        lab.dev.call("sh", words).run();
        let after = fs::metadata(&binary).unwrap();
        assert_eq!((after.mode(), after.ctime_nsec()), (before.mode(), before.ctime_nsec()), "{program}");
    }
}

both!(what_pid_1_runs_is_mounted_read_only);
fn what_pid_1_runs_is_mounted_read_only(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let lease = lab.dev.envctl(["enter", "--detach", "--json", "-p", "3000", &task]).ok().json();
    let init = lease["init"]["pid"].to_string();
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    for pid in [&*init, children.split_whitespace().next().unwrap()] {
        // By their owner: to an account without privilege not even shown.
        let run = lab.dev.call("chmod", ["755", &format!("/proc/{pid}/exe")]).run();
        let answer = if lab.dev.is_unprivileged() { "Permission denied" } else { "Read-only file system" };
        assert!(run.stderr.contains(answer), "{pid}: {}", run.stderr);
    }
    lab.dev.envctl(["reset", &task]).ok();
}

#[test]
fn a_program_that_was_replaced_meanwhile_starts_runtimes_all_the_same() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let binary = own_binary(&lab);
    let replace = "cp \"$1\" \"$1.new\"; \"$@\" & sleep 0.1; wait $!";
    lab.dev.call("sh", ["-c", replace, "sh", binary.to_str().unwrap(), "enter", &task, "--", "true"]).ok();
    // Started from a file that is gone: the running program is sealed memory.
    let gone = "exec 3<\"$0\"; rm \"$0\"; exec /proc/self/fd/3 \"$@\"";
    let words = ["-c", gone, binary.to_str().unwrap(), "enter", &task, "--", "echo", "inside"];
    assert_eq!(lab.dev.call("sh", words).ok().stdout, "inside\n");
}

both!(a_service_finds_no_link_between_itself_and_its_log);
fn a_service_finds_no_link_between_itself_and_its_log(lab: Lab) {
    let outside = Outside::of(&lab.dev);
    lab.dev.write("diary", "PRIVATE\n");
    let way = to_file(&lab, "/proc/self/fd/4", "diary");
    let config = format!(
        "[[service]]\nname = \"one\"\ncommand = [\"sh\", \"-c\", \"rm -f /run/envctl/services/two.log; ln -s {way} /run/envctl/services/two.log; touch /tmp/one; sleep 9\"]\nready = \"file:/tmp/one\"\n\
         [[service]]\nname = \"two\"\ncommand = [\"sh\", \"-c\", \"echo written; cat <&1 >/workspace/stolen; touch /tmp/two; sleep 9\"]\nready = \"file:/tmp/two\"\n"
    );
    lab.repo.write("envctl.toml", &config);
    let task = lab.publish(&ImageBuilder::busybox());
    let shown = lab.sh(&task, "cat stolen");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    assert_eq!(fs::read_to_string(lab.dev.path("diary")).unwrap(), "PRIVATE\n");
    outside.assert_untouched();
}

both!(a_service_is_not_ready_by_a_file_of_the_host);
fn a_service_is_not_ready_by_a_file_of_the_host(lab: Lab) {
    lab.dev.write("here", "");
    let links: Vec<String> = ways().iter().map(|way| to_file(&lab, way, "here")).collect();
    let config = format!(
        "[[service]]\nname = \"one\"\ncommand = [\"sh\", \"-c\", \"for l in {}; do rm -f /tmp/r; ln -s $l /tmp/r; sleep 0.03; done; rm /tmp/r; sleep 9\"]\nready = \"file:/tmp/r\"\ntimeout = \"6s\"\n",
        links.join(" ")
    );
    lab.repo.write("envctl.toml", &config);
    let task = lab.publish(&ImageBuilder::busybox());
    lab.enter(&task, &["true"]).code(125).says(&["was not ready"]);
}

both!(a_file_that_is_a_stream_cannot_be_opened_once_more);
fn a_file_that_is_a_stream_cannot_be_opened_once_more(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let list = lab.dev.path("list");
    lab.dev.write("list", "one\n");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    let binary = lab.dev.binary().to_str().unwrap();
    let inside = "cat; for n in 0 1 2; do echo two >>/proc/self/fd/$n; chmod 4777 /proc/self/fd/$n; done";
    let enter = ["enter", &task, "--", "sh", "-c", inside];
    let open = "exec \"$@\" <\"$0\" >\"$0.out\" 2>>\"$0.out\"";
    let words = [&["-c", open, list.to_str().unwrap(), binary], &enter[..]].concat();
    lab.dev.call("sh", words).run();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((fs::read_to_string(&list).unwrap().as_str(), mode(&list)), ("one\n", 0o644));
    let out = lab.dev.path("list.out");
    assert_eq!(mode(&out) & 0o7111, 0, "{:o}", mode(&out));
    assert!(fs::read_to_string(&out).unwrap().starts_with("one\n"));
}

#[test]
fn both_outputs_into_one_file_stay_in_order() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let out = lab.dev.path("out");
    let binary = lab.dev.binary().to_str().unwrap();
    let inside = "for n in 1 2 3 4 5 6 7 8 9; do echo out $n; echo err $n >&2; done";
    let words = [
        "-c",
        "exec \"$@\" >\"$0\" 2>&1",
        out.to_str().unwrap(),
        binary,
        "--quiet",
        "enter",
        &task,
        "--",
        "sh",
        "-c",
        inside,
    ];
    lab.dev.call("sh", words).ok();
    let expected: String = (1..10).map(|n| format!("out {n}\nerr {n}\n")).collect();
    assert_eq!(fs::read_to_string(&out).unwrap(), expected);
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let binary = lab.dev.binary().to_str().unwrap();
    let words = [
        "-c",
        "exec \"$@\" >/dev/full",
        "sh",
        binary,
        "enter",
        &task,
        "--",
        "sh",
        "-c",
        "echo much; sleep 1; echo more",
    ];
    let run = lab.dev.call("sh", words).run();
    assert_eq!(run.code, 125, "{}", run.stderr);
    assert!(run.stderr.contains("what the command printed cannot be written"), "{}", run.stderr);
}

both!(no_runtime_can_be_addressed_from_another);
fn no_runtime_can_be_addressed_from_another(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let lease = Alive::lease(&lab);
    let id = lease["id"].as_str().unwrap();
    // What the address was, and what lies on disk.
    let names = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!names.contains(&format!("@envctl/{id}")), "an abstract address reaches every network namespace's users");
    let folder = lab.dev.state().join("runtimes").join(id);
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o077, 0);
    let script = format!("ls -d {} 2>&1; :", folder.display());
    let shown = lab.dev.envctl(["enter", "--network", "host", &task, "--", "sh", "-c", &script]).run();
    assert!(!shown.stdout.lines().any(|line| line == folder.to_str().unwrap()), "{}", shown.stdout);
    alive.kill_owner().assert_gone();
}

both!(nobody_joins_who_cannot_read_the_lease);
fn nobody_joins_who_cannot_read_the_lease(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let id = Alive::lease(&lab)["id"].as_str().unwrap().to_owned();
    let lease = lab.dev.state().join("leases").join(format!("{id}.json"));
    let text = fs::read_to_string(&lease).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(other["token"].is_array(), "{text}");
    let status = lab.dev.envctl(["status", "--json"]).ok().stdout;
    assert!(!status.contains("token"), "{status}");
    for token in [
        json!([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
    ] {
        other["token"] = token;
        fs::write(&lease, other.to_string()).unwrap();
        let run = lab.dev.envctl(["exec", &task, "--", "echo", "joined"]).run();
        assert_eq!(run.stdout, "", "{}", run.stderr);
    }
    fs::write(&lease, &text).unwrap();
    assert_eq!(lab.dev.envctl(["exec", &task, "--", "echo", "joined"]).ok().stdout, "joined\n");
    alive.kill_owner().assert_gone();
}

both!(no_set_id_bit_is_made_inside);
fn no_set_id_bit_is_made_inside(lab: Lab) {
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let script = "cp /bin/busybox b; mkdir e f; for mode in 4755 2755 6755 u+s g+s; do
            chmod $mode b e 2>/dev/null && echo chmod $mode; done; mkdir -m 2777 d 2>/dev/null && echo mkdir
            mknod -m 4755 p p 2>/dev/null && echo mknod; find . -perm /6000; :";
        assert_eq!(lab.sh(&task, script), "", "{user}");
        let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
        let found = lab.dev.call("find", [&workspace, "-perm", "/6000"]).ok().stdout;
        assert_eq!(found, "", "{user}");
    }
}

/// Makes a folder with a flag, as `chattr +d` does, and says whether it could.
const FLAGS: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
int main(void) {
    int flags = 0;
    mkdir("folder", 0755);
    int fd = open("folder", O_RDONLY | O_DIRECTORY);
    ioctl(fd, FS_IOC_GETFLAGS, &flags);
    flags |= FS_NODUMP_FL;
    printf("%s\n", ioctl(fd, FS_IOC_SETFLAGS, &flags) ? strerror(errno) : "set");
    return 0;
}
"#;

both!(no_flag_of_a_file_is_changed_inside);
/// A folder with the flag `F` would take `.GIT` for `.git`.
fn no_flag_of_a_file_is_changed_inside(lab: Lab) {
    lab.agent.write("flags.c", FLAGS);
    lab.agent.call("gcc", ["-static", "-o", "flags", "flags.c"]).cwd(lab.agent.path("")).ok();
    let program = fs::read(lab.agent.path("flags")).unwrap();
    // The developer could.
    assert_eq!(
        lab.dev.call(lab.agent.path("flags").to_str().unwrap(), [""; 0]).cwd(lab.dev.path("")).ok().stdout,
        "set\n"
    );
    let task = lab.publish(&ImageBuilder::busybox().layer(Layer::new([Entry::program("bin/flags", program)])));
    assert_eq!(lab.sh(&task, "flags"), "Operation not permitted\n");
}

both!(the_configuration_stays_out_of_reach_when_git_on_the_host_writes_it);
fn the_configuration_stays_out_of_reach_when_git_on_the_host_writes_it(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let workspace = Alive::lease(&lab)["workspace"].as_str().unwrap().to_owned();
    let repo = lab.repo.seen_by(&lab.dev, &workspace);
    repo.git(&["config", "user.name", "written on the host"]);
    repo.git(&["remote", "add", "more", "https://git.example/more.git"]);
    repo.git(&["checkout", "-q", "-b", "another", "--track", "HEAD"]);
    let script = "for file in .git/config .git/envctl/config; do echo '[core]fsmonitor=x' >>$file && echo wrote $file
        rm $file && echo removed $file; echo x >n; mv n $file && echo replaced $file; ln -sf n $file && echo linked $file; done
        mv .git/envctl .git/other && echo moved; mkdir .git/envctl/x && echo made; :";
    let run = lab.dev.envctl(["exec", &task, "--", "sh", "-c", script]).ok();
    assert_eq!(run.stdout, "");
    assert_eq!(repo.git(&["config", "user.name"]).trim(), "written on the host");
    assert_eq!(repo.git(&["config", "--get-all", "core.fsmonitor"]).trim(), "false");
    alive.kill_owner().assert_gone();
}

/// Homes, places of caches, data of services and what is collected, with a link
/// in the image or in the workspace at each.
#[test]
fn no_place_that_is_a_link_is_followed_out() {
    let project = "[artifacts]\ncollect = [{ path = \"reports/*\", type = \"logs\" }]\n\
        [[cache]]\nname = \"home\"\npath = \"~/deps/in\"\nsetup = \"mkdir -p ~/deps/in; echo made >~/deps/in/file\"\n\
        [[cache]]\nname = \"work\"\npath = \"deps/in\"\nsetup = \"mkdir -p deps/in; echo made >deps/in/file\"\n\
        [[cache]]\nname = \"data\"\npath = \"/opt/data\"\nsetup = \"echo made >/opt/data/file\"\n\
        [[service]]\nname = \"one\"\ncommand = [\"sh\", \"-c\", \"echo x >/srv/in/x; sleep 99\"]\n\
        data = { cache = \"data\", path = \"/srv/in\" }\nready = \"file:/srv/in/x\"\ntimeout = \"2s\"\n";
    for (lab, ways) in [Lab::new(), Lab::unprivileged()].into_iter().zip([
        ["/proc/self/fd/3", "/proc/self/fd/5", "/proc/1/fd/4", "/proc/thread-self/fd/6", "/proc/self/root"],
        ["/proc/self/cwd", "/proc/1/root", "/proc/self/exe", "/proc/self/map_files/0-1", "/proc/thread-self/root"],
    ]) {
        lab.repo.write("envctl.toml", project);
        let outside = Outside::of(&lab.dev);
        for way in ways {
            let target = format!("{way}/../../../../../../../../..{}", outside.folder());
            for place in ["home", "srv", "opt", "var", "none"] {
                let image = match place {
                    "none" => ImageBuilder::busybox(),
                    place => ImageBuilder::busybox().layer(Layer::new([Entry::symlink(place, target.as_str())])),
                };
                if place != "none" && way != ways[0] {
                    continue;
                }
                let task = lab.publish(&image);
                lab.dev
                    .envctl(["enter", &task, "--", "sh", "-c", "echo seen >~/deps/in/file; echo x >/srv/in/y"])
                    .run();
                outside.assert_untouched();
                let lay = format!("rm -rf deps reports; ln -s {target} deps; ln -s {target} reports; :");
                lab.dev.envctl(["enter", "--no-services", &task, "--", "sh", "-c", &lay]).run();
                lab.dev.envctl(["enter", "--materialize", &task, "--", "true"]).run();
                let output = lab.dev.path(format!("collected-{}", task.len()));
                lab.dev.envctl(["run", "--output", output.to_str().unwrap(), &task, "--", "true"]).run();
                outside.assert_untouched();
                lab.assert_baseline();
            }
        }
    }
}

both!(the_devices_of_the_host_cannot_be_changed);
fn the_devices_of_the_host_cannot_be_changed(lab: Lab) {
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let before = fs::metadata("/dev/full").unwrap();
        let script = "for d in full null zero tty; do chmod 600 /dev/$d; touch -t 200001010000 /dev/$d; done 2>/dev/null
            chmod 600 /proc/self/fd/0 2>/dev/null; echo gone >/dev/null; head -c 3 /dev/zero | wc -c; echo x >/dev/full; :";
        let run = lab.enter(&task, &["sh", "-c", script]).ok();
        assert_eq!(run.stdout, "3\n");
        let after = fs::metadata("/dev/full").unwrap();
        assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()), "{user}");
        assert_eq!(fs::metadata("/dev/null").unwrap().mode() & 0o777, 0o666);
    }
}

#[test]
fn a_reader_that_reads_nothing_holds_up_no_deadline() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let binary = lab.dev.binary().to_str().unwrap();
    // Opened for both, so that nobody waits for a reader that never reads.
    let script = "mkfifo \"$0\"; exec 9<>\"$0\"; exec timeout -s KILL 30 \"$@\" >\"$0\"";
    let fifo = lab.dev.path("fifo");
    let words = ["-c", script, fifo.to_str().unwrap(), binary, "enter", "--timeout", "2s", &task, "--", "yes"];
    lab.dev.call("sh", words).code(124);
    lab.assert_baseline();
}

both!(a_report_is_written_where_nothing_has_laid_a_link);
fn a_report_is_written_where_nothing_has_laid_a_link(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.dev.write("diary", "mine");
    let workspace = std::path::PathBuf::from(lab.dev.envctl(["enter", "--no-runtime", &task]).ok().stdout.trim());
    let diary = lab.dev.path("diary");
    let link = ["enter", "--report", "report.json", &task, "--", "ln", "-sf", diary.to_str().unwrap(), "report.json"];
    lab.dev.envctl(link).cwd(&workspace).run();
    assert_eq!(fs::read_to_string(&diary).unwrap(), "mine");
    // Nor by the next command.
    lab.dev
        .envctl(["enter", "--report", "report.json", &task, "--", "true"])
        .cwd(&workspace)
        .code(125)
        .says(&["is a link"]);
    assert_eq!(fs::read_to_string(&diary).unwrap(), "mine");
}

both!(a_workspace_that_was_closed_inside_is_opened_again);
fn a_workspace_that_was_closed_inside_is_opened_again(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    for script in
        ["chmod 0 /workspace", "chmod 500 /workspace/.git/objects; chmod 0 /workspace/.git; chmod 500 /workspace"]
    {
        lab.dev.envctl(["enter", &task, "--", "sh", "-c", script]).run();
        lab.dev.envctl(["enter", &task, "--", "sh", "-c", "echo x >file; git status >/dev/null 2>&1; :"]).ok();
    }
    lab.assert_baseline();
}

both!(a_workspace_that_was_given_away_inside_comes_back);
fn a_workspace_that_was_given_away_inside_comes_back(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox().user("0"));
    let plant = "mkdir -p m/.git/objects m/.git/refs; echo 'ref: refs/heads/x' >m/.git/HEAD
        printf '[core]\\n\\tfsmonitor = x\\n' >m/.git/config; chown -R 2000 m";
    for script in [
        "chown 2000 /workspace; chmod 700 /workspace",
        "chown 2000 /workspace/.git/objects; chmod 700 /workspace/.git/objects",
    ] {
        let script = format!("{plant}; {script}");
        let run = lab.enter(&task, &["sh", "-c", &script]).env("ENVCTL_TEST_CRASH", "unwatched").run();
        assert!(run.stderr.contains("m/.git/config was written inside and renamed"), "{}", run.stderr);
        lab.enter(&task, &["sh", "-c", "rm -rf m; echo x >file"]).ok();
    }
    lab.assert_baseline();
}
