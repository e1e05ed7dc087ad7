//! The private network: an outside, but nothing of the host's own loopback.

use crate::support::{ImageBuilder, Lab};

/// A host with an outside, in a network namespace of the test's own: a server
/// on its loopback, another on an address that counts as outside (the host's
/// own address is also that of the inside).
const HOST: &str = "
    ip link set lo up; ip link add outside type veth peer name other
    ip addr add 10.77.0.1/24 dev outside; ip addr add 10.99.0.1/32 dev other
    ip link set outside up; ip link set other up
    ip route add default via 10.77.0.254 dev outside
    mkdir -p \"$0/www\"; echo it-is-outside >\"$0/www/index.html\"
    busybox httpd -p 10.99.0.1:8000 -h \"$0/www\"; busybox httpd -p 127.0.0.1:8000 -h \"$0/www\"
    \"$@\"; code=$?
    for process in /proc/[0-9]*; do
        case \"$(cat $process/comm 2>/dev/null)\" in pasta*|passt*) echo \"left: $process\";; esac
    done
    exit $code";

fn on_a_host(lab: &Lab, args: &[&str]) -> crate::support::Call {
    let folder = lab.dev.path("").to_str().unwrap().to_owned();
    let binary = lab.dev.binary().to_str().unwrap().to_owned();
    lab.dev
        .call(
            "unshare",
            ["--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", HOST, &folder, &binary],
        )
        .args(args)
}

const LOOK: &str = "wget -q -O - http://10.99.0.1:8000/index.html
    wget -q -T 2 -O - http://127.0.0.1:8000/index.html 2>/dev/null && echo loopback
    gateway=$(awk '$2 == \"00000000\" { print $3 }' /proc/net/route | head -n 1); test -n \"$gateway\" && echo routed; :";

#[test]
fn it_reaches_the_outside_alone_and_leaves_nothing() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let run = on_a_host(&lab, &["enter", "--network", "private", &task, "--", "sh", "-c", LOOK]).ok();
    assert_eq!(run.stdout, "it-is-outside\nrouted\n", "{}", run.stderr);
    // The default reaches nothing.
    let run = on_a_host(&lab, &["enter", &task, "--", "sh", "-c", LOOK]).ok();
    assert_eq!(run.stdout, "", "{}", run.stderr);
    lab.assert_baseline();
}

/// What gives the way out is in the host's network: nobody inside gets into it, nor into
/// the processes that it forks for a moment. `/proc/PID/net` would show that network.
#[test]
fn pasta_cannot_be_looked_into() {
    let lab = Lab::new();
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let script = "n=0; while [ $n -lt 20 ]; do n=$((n+1))
            wget -q -O /dev/null http://10.99.0.1:8000/index.html
            for process in /proc/[0-9]*; do
                cat $process/cmdline 2>/dev/null | grep -q '^[^ ]*pasta' && echo pasta
                cat $process/net/tcp 2>/dev/null | grep -q 0100007F:1F40 && echo network
            done; done
            n=1; while [ $n -lt 60 ]; do cat /proc/$n/net/tcp; n=$((n+1)); done 2>/dev/null | grep -q 0100007F:1F40 && echo network
            ps | grep -q 'wget\\|sh -c' && echo end";
        let run = on_a_host(&lab, &["enter", "--network", "private", &task, "--", "sh", "-c", script]).ok();
        assert_eq!(run.stdout, "end\n", "as {user}: {}", run.stderr);
    }
}

#[test]
fn what_is_missing_is_named() {
    let lab = Lab::unprivileged();
    let task = lab.publish(&ImageBuilder::busybox());
    let enter = || lab.dev.envctl(["enter", "--network", "private", &task, "--", "true"]);
    // The device is root's on most machines.
    let tun = std::fs::OpenOptions::new().read(true).open("/dev/net/tun").unwrap().metadata().unwrap();
    if std::os::unix::fs::MetadataExt::mode(&tun) & 0o006 != 0o006 {
        enter().code(125).says(&["/dev/net/tun", "hint:", "--network isolated"]);
    }
    let binary = lab.dev.binary().to_str().unwrap();
    let words = ["PATH=/nowhere", binary, "enter", "--network", "private", &task, "--", "true"];
    lab.dev.call("env", words).code(125).says(&["pasta", "passt", "hint:"]);
    lab.assert_baseline();
}
