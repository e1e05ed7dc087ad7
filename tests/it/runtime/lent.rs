//! Credentials for git that a runtime is lent: for the approved place alone, as long
//! as it lives.

use std::process::Command;

use super::both;
use crate::support::{Alive, Call, Entry, ImageBuilder, Lab, Layer, Marker, Run};

const PASSWORD: &str = "lent-by-the-developer";

/// The git of this machine, with what it loads.
fn git() -> Layer {
    let run = |words: &[&str]| {
        let output = Command::new("sh").args(["-c", words[0], "sh"]).args(&words[1..]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let program = run(&["readlink -f \"$(command -v git)\""]);
    let program = program.trim();
    let loaded = run(&["ldd \"$1\"", program]);
    let files = loaded.split_whitespace().filter(|word| word.starts_with('/'));
    let entry = |file: &str| Entry::program(file.trim_start_matches('/'), std::fs::read(file).unwrap());
    let git = Entry::program("bin/git", std::fs::read(program).unwrap());
    Layer::new([git].into_iter().chain(files.map(entry)))
}

/// A developer whose helper of git's knows a password for everybody, and notes who asks.
struct Lender {
    lab: Lab,
    task: String,
}

impl Lender {
    fn new(lab: Lab) -> Self {
        let project = "[runtime]\nnetwork = \"host\"\ngit_credentials = [\"http://127.0.0.1:9\", \"git.example\"]\n";
        lab.repo.write("envctl.toml", project);
        let task = lab.publish(&ImageBuilder::busybox().layer(git()));
        Lender { lab, task }
    }

    /// Enters with a helper that does `more` before it answers.
    fn enter(&self, options: &[&str], more: &str, script: &str) -> Call {
        let dev = &self.lab.dev;
        let log = dev.path("home/asked");
        let helper = format!(
            "!f() {{ (echo $1; cat) >>{}; {more} echo username=dev; echo password={PASSWORD}; echo oauth_refresh_token=more; }}; f",
            log.display()
        );
        let config = dev.path("home/lender.gitconfig");
        dev.write(&config, format!("[credential]\n helper = {:?}\n", helper));
        let report = dev.path("report.json");
        let words = ["enter", &self.task, "--report", report.to_str().unwrap()];
        let call = dev.envctl(words.iter().chain(options).chain(&["--", "sh", "-c", script]));
        call.env("GIT_CONFIG_GLOBAL", &config)
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

#[test]
fn git_inside_gets_a_login_for_the_approved_place_alone_and_nothing_stays() {
    for lab in both() {
        let lender = Lender::new(lab);
        let lab = &lender.lab;
        let refused = lender.enter(&[], "", "true").code(125);
        let refused = refused.says(&["your git password for http://127.0.0.1:9", "for https://git.example"]);
        lender.approve(&refused);

        let run = lender.enter(&[], "", SCRIPT).ok();
        let given = format!("protocol=http\nhost=127.0.0.1:9\nusername=dev\npassword={PASSWORD}\n600 socket\n");
        assert_eq!(run.stdout, format!("{given}-- others\n-- end\n"), "{}", run.stderr);
        let asked = lender.asked();
        let hosts: Vec<&str> = asked.lines().filter(|line| line.starts_with("host=")).collect();
        assert_eq!(hosts, ["host=127.0.0.1:9"; 2], "{asked}");
        assert!(!asked.contains("store") && !asked.contains("erase"), "{asked}");
        let receipt = &lab.report()["receipt"];
        let lent = serde_json::json!({
            "names": ["http://127.0.0.1:9", "https://git.example"], "given": 2, "refused": 6
        });
        assert_eq!(receipt["lent"], lent);
        // A login that was lent is looked for like a secret.
        assert_eq!(receipt["exposed"], serde_json::json!(["kept"]));
        assert!(!run.stderr.contains(PASSWORD) && !lab.report().to_string().contains(PASSWORD));

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
}
