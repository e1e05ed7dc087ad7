//! Credentials for git that a runtime is lent: for the approved place alone, as long
//! as it lives.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::{Alive, Call, Entry, ImageBuilder, Lab, Layer, Marker, Run, until};

const PASSWORD: &str = "lent-by-the-developer";

/// What the developer's ssh knows of the host.
const KNOWN: &str = "git.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIInjJWnyY+kAXcAxg2rPK3HhOioSdTCyZxxIB/bUFkGE\n";

/// What a shell prints.
fn shell(words: &[&str]) -> String {
    let output = Command::new("sh").args(["-c", words[0], "sh"]).args(&words[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The git of this machine, with what it loads.
fn git() -> Layer {
    let program = shell(&["readlink -f \"$(command -v git)\""]);
    let loaded = shell(&["ldd \"$1\"", &program]);
    let files = loaded.split_whitespace().filter(|word| word.starts_with('/'));
    let entry = |file: &str| Entry::program(file.trim_start_matches('/'), std::fs::read(file).unwrap());
    let git = Entry::program("bin/git", std::fs::read(&program).unwrap());
    Layer::new([git].into_iter().chain(files.map(entry)))
}

/// A program that begins as many messages to the agent as may come at a time, and then
/// leaves its own ends in the queue of the socket, where it cannot close them.
const LEAVES: &str = r#"
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static int at(void) {
    struct sockaddr_un place = { AF_UNIX, "/run/envctl/lent/agent" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (void *)&place, sizeof place)) _exit(1);
    return fd;
}
int main(void) {
    int all[8];
    for (int n = 0; n < 8; n++) {
        all[n] = at();
        if (write(all[n], "\0\0", 2) != 2) _exit(2);
    }
    char space[CMSG_SPACE(sizeof all)] = { 0 };
    struct iovec word = { "x", 1 };
    struct msghdr message = { .msg_iov = &word, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space };
    struct cmsghdr *with = CMSG_FIRSTHDR(&message);
    with->cmsg_level = SOL_SOCKET;
    with->cmsg_type = SCM_RIGHTS;
    with->cmsg_len = CMSG_LEN(sizeof all);
    memcpy(CMSG_DATA(with), all, sizeof all);
    if (sendmsg(at(), &message, 0) != 1) _exit(3);
    usleep(200000);
    return 0;
}
"#;

fn leaves(lab: &Lab) -> Layer {
    lab.agent.write("leaves.c", LEAVES);
    let flags = ["-static", "-o", "leaves", "leaves.c"];
    lab.agent.call("gcc", flags).cwd(lab.agent.path("")).ok();
    Layer::new([Entry::program("bin/leaves", std::fs::read(lab.agent.path("leaves")).unwrap())])
}

/// A developer whose helper of git's knows a password for everybody, and notes who asks,
/// and whose ssh knows a host.
struct Lender {
    lab: Lab,
    task: String,
    path: String,
    agent: std::path::PathBuf,
    _agent: UnixListener,
}

impl Lender {
    fn new(lab: Lab) -> Self {
        let project = "[runtime]\nnetwork = \"host\"\n\
                       git_credentials = [\"http://127.0.0.1:9\", \"git.example\", \"ssh://git.example\"]\n";
        lab.repo.write("envctl.toml", project);
        let task = lab.publish(&ImageBuilder::busybox().layer(git()).layer(leaves(&lab)));
        lab.dev.write("home/known", KNOWN);
        let (known, ssh) = (lab.dev.path("home/known"), lab.dev.path("home/bin/ssh"));
        let real = shell(&["command -v ssh"]);
        let words = format!("#!/bin/sh\nexec {real} -o UserKnownHostsFile={} \"$@\"\n", known.display());
        lab.dev.write("home/bin/ssh", words);
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", lab.dev.path("home/bin").display(), shell(&["echo \"$PATH\""]));
        let agent = lab.dev.path("home/agent");
        let listener = UnixListener::bind(&agent).unwrap();
        Lender { lab, task, path, agent, _agent: listener }
    }

    /// The developer's envctl, with a helper that does `more` before it answers.
    fn envctl(&self, words: &[&str], more: &str) -> Call {
        let dev = &self.lab.dev;
        let log = dev.path("home/asked");
        let helper = format!(
            "!f() {{ (echo $1; cat) >>{}; {more} echo username=dev; echo password={PASSWORD}; echo oauth_refresh_token=more; }}; f",
            log.display()
        );
        let config = dev.path("home/lender.gitconfig");
        dev.write(&config, format!("[credential]\n helper = {:?}\n", helper));
        let call = dev.envctl(words).env("GIT_CONFIG_GLOBAL", &config);
        call.env("SSH_AUTH_SOCK", &self.agent).env("PATH", &self.path)
    }

    fn enter(&self, options: &[&str], more: &str, script: &str) -> Call {
        let report = self.lab.dev.path("report.json");
        let words = ["enter", &self.task, "--report", report.to_str().unwrap()];
        self.envctl(&[&words[..], options, &["--", "sh", "-c", script]].concat(), more)
    }

    /// Agrees to what was just asked for.
    fn approve(&self, refused: &Run) {
        let digest = refused.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap();
        self.lab.dev.envctl(["approve", "--digest", digest]).ok();
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.lab.dev.path("home/asked")).unwrap_or_default()
    }
}

const SCRIPT: &str = "
    fill() { printf 'protocol=%s\\nhost=%s\\n\\n' $1 $2 | GIT_TERMINAL_PROMPT=0 git credential fill 2>&1; }
    at() { git credential-cache --socket=/run/envctl/lent/logins $1; }
    fill http 127.0.0.1:9
    printf 'protocol=http\\nhost=127.0.0.1:9\\nusername=admin\\npath=x\\n' | at get
    stat -c '%a %F' /run/envctl/lent/logins
    echo -- others
    for place in 'https git.example.evil' 'http git.example' 'https 127.0.0.1:9' 'http 127.0.0.1' 'ssh git.example'; do
        printf 'protocol=%s\\nhost=%s\\n' $place | at get
    done
    printf 'protocol=https\\nhost=git.example\\nhost=evil.example\\n' | at get
    printf 'protocol=http\\nhost=127.0.0.1:9\\nusername=x\\npassword=y\\n' | at store
    printf 'protocol=http\\nhost=127.0.0.1:9\\n' | at erase
    echo -- end
    fill http 127.0.0.1:9 >kept";

both!(git_inside_gets_a_login_for_the_approved_place_alone_and_nothing_stays);
fn git_inside_gets_a_login_for_the_approved_place_alone_and_nothing_stays(lab: Lab) {
    let lender = Lender::new(lab);
    let lab = &lender.lab;
    let refused = lender.enter(&[], "", "true").code(125);
    let refused =
        refused.says(&["your git password for http://127.0.0.1:9", "for https://git.example", "logins as git"]);
    lender.approve(&refused);

    let run = lender.enter(&[], "", SCRIPT).ok();
    let given = format!("protocol=http\nhost=127.0.0.1:9\nusername=dev\npassword={PASSWORD}\n600 socket\n");
    assert_eq!(run.stdout, format!("{given}-- others\n-- end\n"), "{}", run.stderr);
    let asked = lender.asked();
    let hosts: Vec<&str> = asked.lines().filter(|line| line.starts_with("host=")).collect();
    assert_eq!(hosts, ["host=127.0.0.1:9"; 3], "{asked}");
    // Which account it is, nobody inside says.
    assert!(!["store", "erase", "username", "path=x"].iter().any(|word| asked.contains(word)), "{asked}");
    let receipt = &lab.report()["receipt"];
    let lent = serde_json::json!({
        "names": ["http://127.0.0.1:9", "https://git.example", "ssh://git@git.example"], "given": 2, "refused": 7
    });
    assert_eq!(receipt["lent"], lent);
    // A login that was lent is looked for like a secret.
    assert_eq!(receipt["exposed"], serde_json::json!(["kept"]));
    assert!(!run.stderr.contains(PASSWORD) && !lab.report().to_string().contains(PASSWORD));

    // Nor does it leave with the task, or stay in a log.
    let leak = "printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill";
    let publish = format!("{leak} >leaked");
    let published = lender.envctl(&["run", "--publish", &lender.task, "--", "sh", "-c", &publish], "").run();
    assert_ne!(published.code, 0);
    published.says(&["injected-secret", "leaked"]);
    let detached = lender.envctl(&["enter", "--detach", "--json", &lender.task, "--", "sh", "-c", leak], "");
    let lease = detached.ok().json();
    let log = || std::fs::read_to_string(lease["log"].as_str().unwrap()).unwrap();
    until("the log is whole", || log().contains("Ended"));
    assert!(log().contains("password=[secret]") && !log().contains(PASSWORD), "{}", log());

    // A program that leaves its ends where nobody closes them holds nobody up.
    lender.enter(&[], "", "leaves").ok();

    // One who is still asked when the runtime ends, ends with it.
    let marker = Marker::new();
    let more = format!("sh -c 'sleep 1000; :' {};", marker.0);
    let script = "printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill >/dev/null &
        until [ -e asked ]; do sleep 0.05; done";
    let mut child = lender.enter(&[], &more, script).spawn();
    crate::support::until("the helper is asked", || !marker.processes().is_empty());
    lab.dev.write(Alive::lease(lab)["workspace"].as_str().unwrap().to_owned() + "/asked", "");
    assert!(child.wait().unwrap().success());
    marker.assert_gone();

    let without = lender.enter(&["--no-secrets", "--network", "host"], "", "env; ls /run/envctl").ok();
    assert!(!without.stdout.contains("credential") && !without.stdout.contains("lent"), "{}", without.stdout);
    assert_eq!(lab.report()["receipt"]["lent"], serde_json::Value::Null);
    lender.approve(&lender.enter(&["--network", "isolated"], "", "env").code(125));
    let isolated = lender.enter(&["--network", "isolated"], "", "env").ok().says(&["reaches no git server"]);
    assert!(!isolated.stdout.contains("GIT_CONFIG"), "{}", isolated.stdout);
    lab.assert_baseline();
}
