//! What a fetch costs, and how it ends.

use std::time::{Duration, Instant};

use super::{Far, lines};
use crate::support::{Lab, until};

const URL: &str = "ssh://git@approved.example/shop.git";

fn far(lab: Lab) -> (Far, String) {
    let far = super::far(lab);
    far.approve("ssh://approved.example");
    let task = far.task(URL);
    (far, task)
}

/// Whether what stood in the place of ssh, or anything that it started, is gone.
fn all_gone(far: &Far) -> bool {
    let log = far.dev().path("home/ssh.log.pids");
    lines(&log).iter().all(|pid| {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    })
}

both!(a_silent_remote_is_given_up, far);
fn a_silent_remote_is_given_up((far, task): (Far, String)) {
    let began = Instant::now();
    far.entering(&task, "exec sleep 60").args(["--net-timeout", "1"]).code(7).says(&["no answer within 1 s"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    until("ssh is gone", || all_gone(&far));
    far.entering(&task, &far.serve()).ok();
}

#[test]
fn a_remote_that_drips_is_given_up() {
    let (far, task) = far(Lab::new());
    let began = Instant::now();
    // The beginning of a packet that is never whole.
    let drip = "printf 4000; while printf x; do sleep 0.3; done";
    far.entering(&task, drip).args(["--net-timeout", "1"]).code(7).says(&["no answer within 1 s"]);
    assert!(began.elapsed() > Duration::from_secs(15) && began.elapsed() < Duration::from_secs(60));
    until("ssh is gone", || all_gone(&far));
}

both!(git_and_ssh_end_with_envctl, far);
fn git_and_ssh_end_with_envctl((far, task): (Far, String)) {
    let mut child = far.entering(&task, "exec sleep 60").spawn();
    until("ssh was started", || lines(&far.dev().path("home/ssh.log.pids")).len() == 1);
    assert!(!all_gone(&far));
    child.kill().unwrap();
    child.wait().unwrap();
    until("ssh is gone", || all_gone(&far));
}

#[test]
fn a_remote_that_talks_without_end_is_given_up() {
    let (far, task) = far(Lab::new());
    far.entering(&task, "exec yes nonsense >&2").code(7).says(&["sends messages without end"]);
    until("ssh is gone", || all_gone(&far));
}

#[test]
fn refs_without_end_are_given_up() {
    let (far, task) = far(Lab::new());
    let reference = format!("exec yes 0042{}' refs/heads/aaaaaaaaa'", "1".repeat(40));
    far.entering(&task, &reference).code(7).says(&["lists refs without end"]);
    until("ssh is gone", || all_gone(&far));
}

/// Megabytes that do not become fewer in a pack.
fn with_noise(lab: Lab) -> (Far, String) {
    let mut state: u64 = 7;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(3 << 20)
    .collect();
    lab.repo.write("noise", noise);
    lab.repo.commit("noise");
    lab.repo.push();
    far(lab)
}

/// Files of a fetch in the developer's mirrors.
fn large_files_of(far: &Far) -> String {
    let words = ["-c", "find . -type f -size +100k | wc -l"];
    far.dev().call("sh", words).cwd(far.dev().data().join("repos")).ok().stdout.trim().to_owned()
}

both!(more_than_is_allowed_does_not_come, with_noise);
fn more_than_is_allowed_does_not_come((far, task): (Far, String)) {
    let config = far.dev().config().join("config.toml");
    far.dev().write(&config, "[workspace]\nmax_fetch = \"1M\"\n");
    far.entering(&task, &far.serve()).code(7).says(&["more than 1.0 MB come", "max_fetch"]);
    assert_eq!(large_files_of(&far), "0");
    far.dev().write(&config, "[workspace]\nmax_fetch = \"8M\"\n");
    far.entering(&task, &far.serve()).ok();
    assert_eq!(large_files_of(&far), "1");
}

#[test]
fn what_git_starts_has_bounds_that_the_kernel_keeps() {
    let (far, task) = far(Lab::new());
    let said = far.dev().path("home/limits");
    far.entering(&task, &format!("cat /proc/self/limits >{}; exit 255", said.display())).code(7);
    let limits = std::fs::read_to_string(said).unwrap();
    for name in ["Max data size", "Max file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let bytes: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!((1 << 20..=64 << 30).contains(&bytes), "{name}: {line}");
    }
}

both!(of_a_fetch_that_breaks_off_nothing_stays, with_noise);
fn of_a_fetch_that_breaks_off_nothing_stays((far, task): (Far, String)) {
    let size = || large_files_of(&far);
    let broken = format!(
        "git -c 'safe.directory=*' upload-pack {} | dd bs=16k count=100 2>/dev/null",
        far.trip.lab.repo.remote.display()
    );
    far.entering(&task, &broken).code(7);
    assert_eq!(size(), "0");
    // What an older fetch left in the mirror itself goes with the next one.
    let repos = far.dev().data().join("repos");
    let mirror = std::fs::read_dir(&repos).unwrap().next().unwrap().unwrap().path();
    let left = mirror.join("objects/pack/tmp_pack_left");
    far.dev().write(&left, "x");
    far.entering(&task, &far.serve()).ok();
    assert!(!left.exists());
    assert_eq!(size(), "1");
}

/// As where a hook runs envctl.
#[test]
fn variables_of_another_repository_do_not_reach_git() {
    let (far, task) = far(Lab::new());
    let shallow = far.dev().path("home/shallow");
    far.dev().write(&shallow, "no commit\n");
    let mut call = far.entering(&task, &far.serve());
    for name in
        ["GIT_SHALLOW_FILE", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"]
    {
        call = call.env(name, &shallow);
    }
    call.env("GIT_NAMESPACE", "x").env("GIT_DEFAULT_HASH", "sha256").ok();
}
