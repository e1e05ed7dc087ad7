//! How commands end, and joining a runtime.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Alive, ImageBuilder, Lab, until};

both!(exit_codes_pass_through);
fn exit_codes_pass_through(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    for (script, code) in
        [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        lab.enter(&task, &["sh", "-c", script]).code(code);
        assert_eq!(lab.report()["exit_code"], code, "{script}");
    }
    // Words are bytes.
    let words = ["sh".as_ref(), "-c".as_ref(), "printf %s \"$0\" | od -An -tx1".as_ref(), OsStr::from_bytes(b"a\xffb")];
    for verb in ["enter", "run"] {
        assert_eq!(lab.dev.envctl([verb, &task, "--"]).args(words).ok().stdout.trim(), "61 ff 62", "{verb}");
    }
    lab.enter(&task, &["no-such-program"]).code(127).says(&["cannot run no-such-program"]);
    lab.enter(&task, &["/etc/passwd"]).code(126).says(&["/etc/passwd"]);
    lab.enter(&task, &["/etc"]).code(126).says(&["/etc"]);
    lab.assert_baseline();
}

both!(a_runtime_that_cannot_start_is_code_125);
fn a_runtime_that_cannot_start_is_code_125(lab: Lab) {
    lab.publish(&ImageBuilder::busybox());
    let run = lab.enter(&format!("{}:nothing", lab.store.name()), &["true"]).code(125);
    run.says(&["error:", "nothing", "hint:"]);
    assert_eq!(lab.report()["error"]["kind"], "not-found");
    assert_eq!(lab.report()["error"]["exit_code"], 125);
}

both!(streams_are_pipes_byte_for_byte);
fn streams_are_pipes_byte_for_byte(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 + n / 256) as u8).collect();
    let run = lab.enter(&task, &["cat"]).stdin(bytes.clone()).ok();
    assert!(run.raw == bytes, "{} of {} bytes", run.raw.len(), bytes.len());
    let alive = Alive::start(&lab, &task, "");
    let run =
        lab.dev.envctl(["exec", &task, "--", "sh", "-c", "cat; echo end >&2; exit 5"]).stdin(bytes.clone()).code(5);
    assert!(run.raw == bytes && run.stderr == "end\n", "{} bytes, {}", run.raw.len(), run.stderr);
    alive.kill_owner().assert_gone();
}

both!(a_conversation_through_exec);
fn a_conversation_through_exec(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let script = "while read -r line; do echo \"got $line in $ENVCTL_TASK\"; done; exit 9";
    let mut child = lab.dev.envctl(["exec", &task, "--", "sh", "-c", script]).spawn();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (_, name) = task.rsplit_once(':').unwrap();
    for n in 0..50 {
        writeln!(to, "{n}").unwrap();
        let expected = format!("got {n} in {name}\n");
        let mut answer = vec![0; expected.len()];
        from.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }
    drop(to);
    assert_eq!(child.wait().unwrap().code(), Some(9));
    alive.kill_owner().assert_gone();
}

both!(without_a_runtime_there_is_nothing_to_join);
fn without_a_runtime_there_is_nothing_to_join(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.dev.envctl(["exec", &task, "--", "true"]).code(125).says(&[
        "error:",
        "no running runtime",
        "hint:",
        "envctl enter",
    ]);
    lab.enter(&task, &["true"]).ok();
    let json = lab.dev.envctl(["exec", "--json", &task, "--", "true"]).code(125).json();
    assert_eq!(json["error"]["kind"], "not-found");
}

both!(those_who_joined_leave_with_the_owner);
fn those_who_joined_leave_with_the_owner(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let joined = Alive {
        owner: lab.dev.envctl(["exec", &task, "--", "sh", "-c", "sleep 1000; :", &alive.marker.0]).spawn(),
        marker: alive.marker.clone(),
    };
    // Its shell, neither the client nor a fork of the owner's shell.
    let is_its = |line: &String| !line.contains("envctl exec") && !line.contains("echo ready");
    until("it runs", || joined.marker.processes().iter().any(is_its));
    alive.kill_owner();
    joined.marker.assert_gone();
    let (code, said) = joined.wait();
    assert_eq!(code, Some(137), "{said}");
    assert!(said.contains("runtime"), "{said}");
}

both!(a_client_of_exec_that_is_killed_takes_its_command_along);
fn a_client_of_exec_that_is_killed_takes_its_command_along(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let other = crate::support::Marker::new();
    let script = "sleep 1000; :";
    let mut joined = lab.dev.envctl(["exec", &task, "--", "sh", "-c", script, &other.0]).spawn();
    until("it runs", || other.processes().iter().any(|line| !line.contains("envctl exec")));
    joined.kill().unwrap();
    joined.wait().unwrap();
    other.assert_gone();
    assert!(!alive.marker.processes().is_empty());
    alive.kill_owner().assert_gone();
}

both!(two_runtimes_of_the_same_task);
fn two_runtimes_of_the_same_task(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let (one, two) = (Alive::start(&lab, &task, ""), Alive::start_with(&lab, &["--fresh"], &task, ""));
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["leases"].as_array().unwrap().len(), 2, "{status}");
    one.kill_owner().assert_gone();
    assert!(!two.marker.processes().is_empty());
    two.kill_owner().assert_gone();
    lab.dev.envctl(["status"]).ok();
    lab.assert_baseline();
}
