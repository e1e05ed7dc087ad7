//! Several commands a lease, and a fresh runtime before unrelated work.

use serde_json::Value;

use super::{report, report_path, task};
use crate::support::{Call, Lab, in_time};

fn batch(lab: &Lab, options: &[&str], task: &str, text: &str) -> Call {
    lab.dev.write("batch", text);
    let (report, file) = (report_path(lab), lab.dev.path("batch"));
    let words = ["run", "--report", report.to_str().unwrap(), "--batch", file.to_str().unwrap()];
    lab.dev.envctl([&words, options, &[task]].concat())
}

fn codes(report: &Value) -> Vec<Vec<Option<u64>>> {
    let leases = report["leases"].as_array().unwrap();
    let of = |lease: &Value| {
        lease["commands"].as_array().unwrap().iter().map(|command| command["exit_code"].as_u64()).collect()
    };
    leases.iter().map(of).collect()
}

both!(groups_share_a_runtime_and_others_do_not);
fn groups_share_a_runtime_and_others_do_not(lab: Lab) {
    let task = task(&lab);
    let text = "# one\necho one >/tmp/x\ncat /tmp/x\n\ntest ! -e /tmp/x && echo fresh\n";
    let ran = batch(&lab, &[], &task, text).ok();
    assert_eq!(ran.stdout, "one\nfresh\n");
    let report = report(&lab);
    assert_eq!(codes(&report), [vec![Some(0), Some(0)], vec![Some(0)]]);
    assert_ne!(report["leases"][0]["receipt"]["lease"], report["leases"][1]["receipt"]["lease"]);
    let log = std::fs::read_to_string(report["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("$ cat /tmp/x\none\n$ test ! -e"), "{log}");
    assert_eq!(lab.receipts().len(), 2);
    lab.assert_baseline();
}

#[test]
fn it_stops_at_the_first_failure_unless_it_is_to_go_on() {
    let lab = Lab::new();
    let task = task(&lab);
    let text = "exit 3\necho after\n\necho other\n\nexit 5\n";
    let ran = batch(&lab, &[], &task, text).code(3);
    assert_eq!((ran.stdout.as_str(), codes(&report(&lab))), ("", vec![vec![Some(3), None], vec![None], vec![None]]));
    let ran = batch(&lab, &["--keep-going"], &task, text).code(3);
    assert_eq!(ran.stdout, "other\n");
    assert_eq!(codes(&report(&lab)), [vec![Some(3), None], vec![Some(0)], vec![Some(5)]]);
    in_time(|seconds| {
        let words = ["--keep-going", "--timeout", &format!("{seconds}s")];
        batch(&lab, &words, &task, "sleep 1000\n\necho next\n").run();
        (codes(&report(&lab)) == [vec![Some(124)], vec![Some(0)]]).then_some(())
    });
    batch(&lab, &[], &task, "# nothing\n").code(125).says(&["holds no command"]);
    lab.assert_baseline();
}
