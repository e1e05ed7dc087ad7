//! Somebody else's project in a real Debian: its tests give inside what they
//! give outside, and long-lived programs work through `exec`. What they start
//! from is made by `tests/real-image`.

mod frames;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Child;

use frames::Framed;
use serde_json::{Value, json};

use crate::support::{Call, Facts, Lab, Outcomes, Repo, copy, prepared, publish, until};

/// Without the one test of the project that waits for 10 ms, which a busy machine takes.
const SUITE: &[&str] = &["python3", "-m", "pytest", "-q", "--junitxml=report.xml", "-k", "not socketutils_netstring"];

/// Answers each frame with the same content; ends with 7 at the end of input.
const PYTHON_SERVER: &str = r#"
import sys
while header := sys.stdin.buffer.readline():
    length = int(header.split(b":")[1])
    assert sys.stdin.buffer.readline() == b"\r\n"
    body = sys.stdin.buffer.read(length)
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()
print("bye", file=sys.stderr)
sys.exit(7)
"#;

const NODE_SERVER: &str = r"
let input = Buffer.alloc(0)
process.stdin.on('data', chunk => {
  input = Buffer.concat([input, chunk])
  for (;;) {
    const end = input.indexOf('\r\n\r\n')
    if (end < 0) return
    const next = end + 4 + parseInt(input.subarray(0, end).toString().split(':')[1])
    if (input.length < next) return
    process.stdout.write(input.subarray(0, next))
    input = input.subarray(next)
  }
})
process.stdin.on('end', () => { console.error('bye'); process.exitCode = 7 })
";

const NODE_DEV_SERVER: &str = "
require('http').createServer((request, response) => response.end('the shop at ' + request.url)).listen(3000)
";

#[test]
fn a_real_project_as_root() {
    assert!(rustix::process::geteuid().is_root(), "run tests/run as root");
    the_suite_gives_inside_what_it_gives_outside(&Project::of(Lab::new()));
}

#[test]
fn a_real_project_unprivileged() {
    the_suite_gives_inside_what_it_gives_outside(&Project::of(Lab::unprivileged()));
}

both!(long_lived_programs_talk_through_exec);
fn long_lived_programs_talk_through_exec(lab: Lab) {
    let project = Project::of(lab);
    project.agent_works();
    let task = project.publish();
    let runtime = Runtime::start(&project.lab, &task);
    echoes(&runtime, &["python3", "-c", PYTHON_SERVER]);
    echoes(&runtime, &["node", "-e", NODE_SERVER]);
    a_language_server_knows_the_project(&runtime);
    a_dev_server_is_reached(&runtime);
    runtime.end();
}

fn the_suite_gives_inside_what_it_gives_outside(project: &Project) {
    let untouched = project.suite_outside(0);
    assert!(untouched.count("passed") > 500 && untouched.count("failed") == 0, "{untouched:?}");
    project.agent_works();
    let outside = project.suite_outside(1);
    assert_eq!(outside.named("failed"), ["tests.test_mathutils::test_clamp_transparent"]);
    // One of the release fails, the new one does not.
    assert_eq!(outside.count("passed"), untouched.count("passed"));

    // One command on a new machine, as the developer types it.
    let task = project.publish();
    project.lab.enter(&task, SUITE).code(1);
    let workspace = project.workspace(&task);
    assert_eq!(Outcomes::take(&workspace.path), outside);
    Facts::of(&project.lab.repo).assert_same(&Facts::of(&workspace));
    project.assert_same_system(&task);

    // The developer finishes the agent's work outside; inside sees it.
    let half_done = fs::read_to_string(workspace.path.join("boltons/mathutils.py")).unwrap();
    workspace.write("boltons/mathutils.py", half_done.replace("x if x == x else lower", "x"));
    project.lab.enter(&task, SUITE).ok();
    let done = Outcomes::take(&workspace.path);
    assert_eq!((done.count("passed"), done.count("failed")), (outside.count("passed") + 1, 0));
}

/// Several messages of both sizes, then the end of the input.
fn echoes(runtime: &Runtime, server: &[&str]) {
    let mut server = Framed::new(runtime.exec(server).spawn());
    for round in 0..5 {
        let small = json!({ "jsonrpc": "2.0", "id": round, "method": "echo", "params": ["ä", "\r\n\r\n", "\0"] });
        let large = json!({ "jsonrpc": "2.0", "id": round, "params": "0123456789abcde\n".repeat(1 << 16) });
        for message in [small, large] {
            server.send(&message);
            assert!(server.receive() == message, "another answer to {} bytes", message.to_string().len());
        }
    }
    // Many at once, before the first answer is read.
    let messages: Vec<Value> = (0..200).map(|id| json!({ "id": id, "pad": "x".repeat(id * 10) })).collect();
    messages.iter().for_each(|message| server.send(message));
    messages.iter().for_each(|message| assert_eq!(server.receive(), *message));
    assert_eq!(server.end(), (7, "bye\n".into()));
}

/// The definition that the agent's tests import is the agent's.
fn a_language_server_knows_the_project(runtime: &Runtime) {
    let mut server = Framed::new(runtime.exec(&["pylsp"]).spawn());
    let root = "file:///workspace";
    let options = json!({ "processId": null, "rootUri": root, "capabilities": {} });
    let answer = server.request("initialize", options);
    assert_eq!(answer["capabilities"]["definitionProvider"], true, "{answer}");
    server.notify("initialized", json!({}));
    let uri = format!("{root}/tests/test_mathutils.py");
    let text = fs::read_to_string(runtime.lab.repo.path.join("tests/test_mathutils.py")).unwrap();
    let line = text.lines().position(|line| line.starts_with("from boltons.mathutils import clamp")).unwrap();
    let document = json!({ "uri": uri, "languageId": "python", "version": 1, "text": text });
    server.notify("textDocument/didOpen", json!({ "textDocument": document }));
    let place = json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": 31 } });
    let answer = server.request("textDocument/definition", place);
    assert_eq!(answer[0]["uri"], format!("{root}/boltons/mathutils.py"), "{answer}");
    server.request("shutdown", Value::Null);
    server.notify("exit", Value::Null);
    assert_eq!(server.end().0, 0);
}

/// Without set-up, although the loopback is the runtime's own.
fn a_dev_server_is_reached(runtime: &Runtime) {
    let mut server = runtime.exec(&["node", "-e", NODE_DEV_SERVER]).spawn();
    let fetch = "import urllib.request as r; print(r.urlopen('http://localhost:3000/cart').read().decode())";
    until("the dev server answers", || runtime.exec(&["python3", "-c", fetch]).run().code == 0);
    let run = runtime.exec(&["python3", "-c", fetch]).ok();
    assert_eq!(run.stdout, "the shop at /cart\n");
    assert!(server.try_wait().unwrap().is_none());
    server.kill().unwrap();
    server.wait().unwrap();
}

/// The project in an agent's hands.
struct Project {
    lab: Lab,
    image: String,
    rootfs: PathBuf,
}

impl Project {
    /// Committed and pushed as its authors released it.
    fn of(lab: Lab) -> Self {
        let (agent, repo) = (&lab.agent, &lab.repo);
        let archive = agent.path("project.tar.gz");
        agent.write(&archive, fs::read(prepared().join("project.tar.gz")).unwrap());
        repo.remove("README");
        let archive = archive.to_str().unwrap();
        agent.call("tar", ["-xzf", archive, "--strip-components=1"]).cwd(&repo.path).ok();
        repo.write(".gitignore", "__pycache__/\n.pytest_cache/\n/report.xml\n");
        repo.commit("Import the release");
        repo.push();
        copy(&prepared().join("image"), &lab.images.path);
        let image = lab.images.reference("debian");
        // The target folder may lie below a home that others cannot enter.
        let mut rootfs = prepared().join("rootfs");
        if agent.call("test", ["-x"]).arg(rootfs.join("usr")).run().code != 0 {
            copy(&rootfs, &agent.path("rootfs"));
            rootfs = agent.path("rootfs");
        }
        Project { lab, image, rootfs }
    }

    /// An unpushed commit, staged, unstaged and untracked work; one test fails.
    fn agent_works(&self) {
        let repo = &self.lab.repo;
        repo.git(&["switch", "--quiet", "--create", "agent/clamp"]);
        repo.write(
            "tests/test_wrap.py",
            "def test_wrap():\n    from boltons.wrap import wrap\n    assert wrap(7, 5) == 2\n",
        );
        repo.commit("Expect a way to wrap numbers");
        repo.write("boltons/wrap.py", "def wrap(x, size):\n    return x % size\n");
        repo.git(&["add", "boltons/wrap.py"]);
        let source = fs::read_to_string(repo.path.join("boltons/mathutils.py")).unwrap();
        let changed = source.replace("min(max(x, lower), upper)", "min(max(x if x == x else lower, lower), upper)");
        assert_ne!(source, changed);
        repo.write("boltons/mathutils.py", changed);
        repo.write("notes.md", "Should clamp() let NaN through?\n");
    }

    fn publish(&self) -> String {
        publish(&self.lab.agent, &self.lab.repo, &self.lab.store, &self.image, &self.lab.next_task())
    }

    fn workspace(&self, task: &str) -> Repo {
        let path = self.lab.dev.envctl(["enter", task, "--no-runtime"]).ok().stdout;
        self.lab.repo.seen_by(&self.lab.dev, path.trim_end())
    }

    /// A command of the same system in another sandbox, in the agent's checkout.
    fn outside(&self, command: &[&str]) -> Call {
        let (rootfs, checkout) = (self.rootfs.to_str().unwrap(), self.lab.repo.path.to_str().unwrap());
        let args = [
            &["--ro-bind", rootfs, "/", "--bind", checkout, "/srv", "--chdir", "/srv"],
            &["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-all", "--clearenv"] as &[_],
            &["--uid", "1000", "--gid", "1000", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"],
            &["--setenv", "PATH", "/usr/bin:/bin", "--"],
            command,
        ];
        self.lab.agent.call("bwrap", args.concat())
    }

    fn suite_outside(&self, code: i32) -> Outcomes {
        self.outside(SUITE).code(code);
        Outcomes::take(&self.lab.repo.path)
    }

    /// Four layers, one hiding parts of the others, give the tree that they
    /// were made from.
    fn assert_same_system(&self, task: &str) {
        let list = ["sh", "-c", "find /usr /etc/alternatives /var/lib/dpkg -printf '%p\\t%M %s %l\\n'"];
        let (inside, outside) = (self.lab.enter(task, &list).ok().stdout, self.outside(&list).ok().stdout);
        let files = |text: &str| text.lines().filter_map(comparable).collect::<BTreeSet<_>>();
        let (inside, outside) = (files(&inside), files(&outside));
        assert!(outside.len() > 5000, "{}", outside.len());
        let missing: Vec<_> = outside.difference(&inside).collect();
        let added: Vec<_> = inside.difference(&outside).collect();
        assert!(missing.is_empty() && added.is_empty(), "missing {missing:#?}\nadded {added:#?}");
    }
}

/// Folders have sizes of their file systems' own, and no layer keeps the bits
/// that change who somebody is.
fn comparable(line: &str) -> Option<String> {
    let (path, facts) = line.split_once('\t').unwrap();
    let (mode, rest) = facts.split_at(10);
    (!mode.starts_with('d')).then(|| format!("{path} {}{rest}", mode.replace('s', "x")))
}

/// A runtime that lasts until its input ends.
struct Runtime<'a> {
    lab: &'a Lab,
    task: &'a str,
    owner: Child,
}

impl<'a> Runtime<'a> {
    fn start(lab: &'a Lab, task: &'a str) -> Self {
        let owner = lab.enter(task, &["sh", "-c", "touch ready; cat; exit 5"]).spawn();
        let runtime = Runtime { lab, task, owner };
        until("the runtime is there", || runtime.exec(&["test", "-e", "ready"]).run().code == 0);
        runtime
    }

    fn exec(&self, command: &[&str]) -> Call {
        self.lab.dev.envctl(["exec", self.task, "--"]).args(command)
    }

    fn end(mut self) {
        drop(self.owner.stdin.take());
        assert_eq!(self.owner.wait().unwrap().code(), Some(5));
        let status = self.lab.dev.envctl(["status", "--json"]).ok().json();
        assert_eq!(status["leases"], json!([]));
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        let _ = self.owner.kill();
        let _ = self.owner.wait();
    }
}
