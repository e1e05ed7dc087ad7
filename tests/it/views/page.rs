//! The page of a task: all that a stranger wrote is text on it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::Trip;

const SCRIPT: &str = "<script>alert(1)</script>";

#[test]
fn a_task_is_looked_at_on_one_page() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    repo.write("new <b>.txt", format!("{SCRIPT}\n"));
    let said = ["--status", "needs-human", "--message", SCRIPT, "--command", "make <test>", "--exit-code", "2"];
    trip.publishing(repo, "t").args(said).ok();
    let task = trip.lab.store.reference("t");
    let report = "<testsuite><testcase name=\"adds\"><failure message=\"&lt;script&gt;\"/></testcase></testsuite>";
    repo.write("unit.xml", report);
    repo.write("run.log", format!("began\n{SCRIPT}\n"));
    for (kind, file) in [("test-results", "unit.xml"), ("logs", "run.log")] {
        trip.lab.agent.envctl(["artifacts", "add", &task, "--type", kind, file]).cwd(&repo.path).ok();
    }
    let file = dev.path("page.html");
    let run = dev.envctl(["view", &task, "--output", file.to_str().unwrap()]).ok();
    assert_eq!(run.stdout.trim(), file.to_str().unwrap());
    let page = fs::read_to_string(&file).unwrap();
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    for part in
        ["Content-Security-Policy", "1 failed", "make &lt;test&gt;", "new &lt;b&gt;.txt", "began", "needs-human"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("&lt;script&gt;").count(), 4, "the message, the file, the log and the test");
    // What lies there may lead elsewhere.
    let link = dev.path("link.html");
    symlink(&file, &link).unwrap();
    dev.envctl(["view", &task, "--output", link.to_str().unwrap()]).code(2).says(&["is a link"]);
    // Nobody is there to look: the path alone, and what is known here when the store is away.
    trip.enter(&task);
    fs::rename(&trip.lab.store.path, trip.lab.store.path.with_extension("away")).unwrap();
    let kept = dev.envctl(["view", &task, "--json"]).ok().json();
    assert_eq!(kept["opened"], false);
    let kept = fs::read_to_string(kept["path"].as_str().unwrap()).unwrap();
    assert!(kept.contains("make &lt;test&gt;") && kept.contains("new &lt;b&gt;.txt"), "{kept}");
}
