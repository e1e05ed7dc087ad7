//! What runs beside the command.

use serde_json::json;

use super::{deps, task};
use crate::support::{Entry, ImageBuilder, Lab, Layer, until, until_it_heeds};

fn service(rest: &str) -> String {
    format!("[[service]]\nname = \"web\"\n{rest}\n")
}

const SERVER: &str = "command = [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/srv\"]\nready = \"tcp:8000\"";

both!(it_is_ready_before_the_command_and_gone_after_it);
fn it_is_ready_before_the_command_and_gone_after_it(lab: Lab) {
    lab.repo.write("lock", "1");
    let data = "[[cache]]\nname = \"site\"\npath = \"/opt/site\"\nsetup = 'echo seeded > /opt/site/index.html'\n";
    let project = format!("{data}{}data = {{ cache = \"site\", path = \"/srv\" }}\n", service(SERVER));
    let task = task(&lab, &project);
    assert_eq!(lab.sh(&task, "wget -qO- http://127.0.0.1:8000/; echo changed > /srv/index.html"), "seeded\n");
    // What a run changes is gone in the next.
    assert_eq!(lab.sh(&task, "wget -qO- http://127.0.0.1:8000/"), "seeded\n");
    let receipt = &lab.report()["receipt"];
    assert_eq!((&receipt["baseline"], &receipt["processes"]["left"]), (&true.into(), &0.into()));
    lab.assert_baseline();
}

#[test]
fn one_that_fails_is_told_with_its_log() {
    let lab = Lab::new();
    let fails = [
        (
            "command = [\"sh\", \"-c\", \"echo the reason; exit 1\"]\nready = \"tcp:8000\"",
            "ended before it was ready; it said: the reason",
        ),
        ("command = [\"sleep\", \"100\"]\nready = \"file:/nowhere\"\ntimeout = \"1s\"", "was not ready after 1s"),
        ("command = [\"nonsense\"]", "cannot start the service web"),
    ];
    for (rest, says) in fails {
        let task = task(&lab, &service(rest));
        lab.enter(&task, &["true"]).code(125).says(&[says]);
        lab.assert_baseline();
    }
}

#[test]
fn they_start_in_order_and_stop_in_the_opposite_one() {
    let lab = Lab::new();
    let one = |name: &str| {
        let script = format!(
            "trap 'echo {name} ends >> /workspace/order; exit 0' TERM; echo {name} begins >> /workspace/order; touch /tmp/{name}; while :; do sleep 0.05; done"
        );
        format!(
            "[[service]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\nready = \"file:/tmp/{name}\"\nstop = \"5s\"\n"
        )
    };
    let task = task(&lab, &[one("a"), one("b")].concat());
    assert_eq!(lab.sh(&task, "cat order"), "a begins\nb begins\n");
    let order = std::fs::read_to_string(super::workspace(&lab).path.join("order")).unwrap();
    assert_eq!(order, "a begins\nb begins\nb ends\na ends\n");
}

#[test]
fn a_command_says_when_it_is_ready_and_a_log_is_kept_inside() {
    let lab = Lab::new();
    let rest = "command = [\"sh\", \"-c\", \"echo $GREETING; sleep 0.3; touch /tmp/up; sleep 100\"]\nready = \"cmd:test -e /tmp/up\"\nenv = { GREETING = \"hello\" }";
    let task = task(&lab, &service(rest));
    assert_eq!(lab.sh(&task, "cat /run/envctl/services/web.log; test -e /tmp/up && echo up"), "hello\nup\n");
}

#[test]
fn case_53_an_interruption_while_they_start_ends_everything() {
    let lab = Lab::new();
    let task = task(&lab, &service("command = [\"sleep\", \"1000\"]\nready = \"file:/nowhere\"\ntimeout = \"10m\""));
    let child = lab.enter(&task, &["true"]).spawn();
    until("it is waiting", || {
        !lab.dev.envctl(["status", "--json"]).ok().json()["leases"].as_array().unwrap().is_empty()
    });
    until_it_heeds(&child, rustix::process::Signal::INT);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    lab.assert_baseline();
}

#[test]
fn detached_runtimes_have_them_and_setups_do_not() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let server = SERVER.replace("/srv", "/tmp");
    let project = format!("{}{}", deps("wget -qO- http://127.0.0.1:8000/ > deps/seen 2>&1 || true"), service(&server));
    let task = task(&lab, &project);
    lab.dev.envctl(["enter", "--detach", &task]).ok();
    let script = "cat deps/seen; wget -qO- http://127.0.0.1:8000/nothing 2>&1";
    let run = lab.dev.envctl(["exec", &task, "--", "sh", "-c", script]).run();
    assert!(run.stdout.contains("refused") && run.stdout.contains("404"), "{}", run.stdout);
    let lease = &lab.dev.envctl(["status", "--json"]).ok().json()["leases"][0];
    assert_eq!(lease["services"], serde_json::json!(["web"]));
    lab.dev.envctl(["reset", &task]).ok();
    lab.assert_baseline();
}

/// What the image of the service runs: it says what it sees, and serves that.
const OF_ITS_OWN: &str = r#"#!/bin/sh
echo begun
mkdir /tmp/site
{
  echo "$(id -u) $(pwd) $1 $OF_IMAGE $GIVEN $HOME"
  echo "first $(cat /proc/1/comm)"
  cat /opt/kept 2>/dev/null || echo nothing kept
  ls -d /workspace /workspaces 2>&1 | grep -c 'No such'
  mount -t tmpfs none /mnt 2>/dev/null && echo mounted
  echo x > /proc/sys/kernel/hostname && echo changed
  for number in $(seq 3 200); do [ -d /proc/self/fd/$number/. ] && echo "holds $number"; done
  echo end
} > /tmp/site/index.html 2>/dev/null
echo x > /opt/kept
exec httpd -f -p 8000 -h /tmp/site
"#;

#[test]
fn one_with_an_image_of_its_own_has_its_files_the_loopback_and_nothing_else() {
    // Where an image says nothing of a folder it is the root.
    for (lab, workdir) in [(Lab::new(), Some("/made/here")), (Lab::unprivileged(), None)] {
        let files = Layer::new([
            Entry::program("start", OF_ITS_OWN),
            Entry::dir("mnt/"),
            Entry::dir("opt/").mode(0o777),
            Entry::program("bin/answers", "#!/bin/sh\nexec wget -qO /dev/null http://127.0.0.1:8000/\n"),
        ]);
        let server = ImageBuilder::busybox().layer(files).config_field(
            "/config",
            json!({ "User": "dev", "Env": ["PATH=/bin", "OF_IMAGE=image"], "WorkingDir": workdir,
                    "Entrypoint": ["/start"], "Cmd": ["word"] }),
        );
        let image = lab.image_within("server", &server).reference;
        // The task's image has no such command.
        let project = service(&format!(
            "image = {image:?}\nready = \"cmd:answers\"\nenv = {{ GIVEN = \"given\" }}\nstop = \"1s\""
        ));
        let task = task(&lab, &project);
        let id = lab
            .sh(&task, "id -u; wget -qO- http://web:8000/; cat /run/envctl/services/web.log; ! ls /start 2>/dev/null");
        let pwd = workdir.unwrap_or("/");
        let expected =
            format!("1000\n1000 {pwd} word image given /home/dev\nfirst start\nnothing kept\n2\nend\nbegun\n");
        assert_eq!(id, expected);
        let receipt = &lab.report()["receipt"];
        assert_eq!((&receipt["baseline"], &receipt["processes"]["left"]), (&true.into(), &0.into()));
        lab.assert_baseline();
        // A run of the checkout, which no store knows, has it as well.
        let base = lab.images.add("base", &ImageBuilder::busybox()).reference;
        let run = ["run", "--image", &base, "--", "wget", "-qO-", "http://web:8000/"];
        let run = lab.agent.envctl(run).cwd(&lab.repo.path).ok();
        assert!(run.stdout.contains("image given") && run.stdout.contains("nothing kept"), "{}", run.stdout);
        // Each run begins anew; what is gone from where it was is pinned, and here.
        std::fs::rename(lab.repo.path.join(".images"), lab.agent.path("gone")).unwrap();
        let again = lab.enter(&task, &["sh", "-c", "wget -qO- http://web:8000/ | grep kept; kill -9 $(pidof httpd)"]);
        assert_eq!(again.ok().stdout, "nothing kept\n");
        let without = ["enter", &task, "--no-services", "--", "wget", "-qO-", "http://web:8000/"];
        lab.dev.envctl(without).code(1);
        lab.assert_baseline();
    }
}
