//! The streams of a program inside, and who else reads and writes what they lead to.

use crate::support::{ImageBuilder, Lab};

/// A shell on the host that takes its commands from a pipe or a file, as with `ssh host
/// bash -s`; one of them is envctl.
fn shell_that_reads(lab: &Lab, verb: &[&str], inside: &str, way: &str) -> String {
    let binary = lab.dev.binary().to_str().unwrap();
    let words: Vec<String> = verb.iter().map(|word| format!("'{word}'")).collect();
    let script = format!("'{binary}' --quiet {} -- sh -c '{inside}'\necho the script goes on\n", words.join(" "));
    lab.dev.write("script", script);
    let way = format!("{way} 2>&1");
    lab.dev.call("sh", ["-c", &way]).cwd(lab.dev.path("")).run().stdout
}

both!(nobody_inside_writes_to_a_pipe_that_is_read);
fn nobody_inside_writes_to_a_pipe_that_is_read(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let inside = "echo \"echo of the task\" >/proc/self/fd/0; echo \"echo of the task\" >&0; :";
    for verb in [&["enter", &task][..], &["run", "--keep", &task], &["run", &task]] {
        let said = shell_that_reads(&lab, verb, inside, "cat script | sh");
        assert!(said.ends_with("the script goes on\n") && !said.contains("\nof the task"), "{verb:?}: {said}");
    }
}

both!(nobody_inside_reads_what_others_write_to_the_same_pipe);
fn nobody_inside_reads_what_others_write_to_the_same_pipe(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let binary = lab.dev.binary().to_str().unwrap();
    // What the others wrote waits in the pipe while the program inside runs.
    let script = "{ echo of another; \"$0\" --quiet enter \"$1\" -- sh -c 'for n in 1 2; do timeout 1 cat </proc/self/fd/$n; done >/tmp/got; wc -c </tmp/got >&2; :'; } 2>\"$2\" | { sleep 4; cat; }";
    let said = lab.dev.path("said");
    let run = lab.dev.call("sh", ["-c", script, binary, &task, said.to_str().unwrap()]).ok();
    assert_eq!(run.stdout, "of another\n");
    assert!(std::fs::read_to_string(said).unwrap().ends_with("0\n"));
}

both!(who_reads_next_finds_what_nobody_inside_has_read);
fn who_reads_next_finds_what_nobody_inside_has_read(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    for way in ["cat script | sh", "sh <script", "sh script"] {
        let said = shell_that_reads(&lab, &["enter", &task], "true", way);
        assert!(said.ends_with("the script goes on\n"), "{way}: {said}");
    }
    let binary = lab.dev.binary().to_str().unwrap();
    lab.dev.write("list", "one\ntwo\nthree\n");
    let body = "while read -r word; do echo \"$word\"; \"$0\" --quiet enter \"$1\" -- sh -c \"$2\"; done";
    for (inside, found) in [
        ("true", "one\ntwo\nthree\n"),
        ("head -n 1 >/dev/null", "one\n"),
        ("dd bs=1 count=4 2>/dev/null", "one\ntwo\nthree\n"),
    ] {
        for script in [format!("cat list | {body}"), format!("{body} <list")] {
            let run = lab.dev.call("sh", ["-c", &script, binary, &task, inside]).cwd(lab.dev.path("")).ok();
            assert_eq!(run.stdout, found, "{script}: {inside}");
        }
    }
}

both!(a_large_input_arrives_whole);
fn a_large_input_arrives_whole(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let input: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
    let run = lab.enter(&task, &["cat"]).stdin(input.clone()).ok();
    assert!(run.stdout == input, "{} of {} bytes", run.stdout.len(), input.len());
}
