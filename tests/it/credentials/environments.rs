//! Environments in which agents really publish: what is in them is no secret because
//! a name looks like that of one.

use envctl::credentials::is_secret_variable;

use crate::support::{ImageBuilder, Lab};

const ENVIRONMENTS: &str = include_str!("environments.txt");

#[test]
fn every_secret_of_an_environment_is_known_and_nothing_else() {
    let (mut environments, mut secrets, mut wrong) = (0, 0, Vec::new());
    let mut section = "";
    for line in ENVIRONMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            (section, environments) = (line, environments + 1);
            continue;
        }
        let planted = line.strip_prefix("! ");
        let (name, value) = planted.unwrap_or(line).split_once('=').unwrap();
        secrets += usize::from(planted.is_some());
        if is_secret_variable(name, value) != planted.is_some() {
            wrong.push(format!("{section} {name}={value}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(environments >= 12 && secrets >= 12, "{environments} environments, {secrets} secrets");
}

/// The folder's name has digits, as those of a fleet have, and a log names it.
#[test]
fn a_checkout_in_a_numbered_folder_is_published() {
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let folder = lab.agent.path("agent-8f3a2b91c7/shop-4711x");
    lab.agent.mkdir(&folder);
    let repo = lab.repo.clone_to("agent-8f3a2b91c7/shop-4711x/checkout", &[]);
    repo.write("trace.log", format!("built in {}\n", repo.path.display()));
    let words = ["publish", "t", "--store", &lab.store.name(), "--image", &image];
    let run = lab.agent.envctl(words).cwd(&repo.path).env("PWD", &repo.path).env("OLDPWD", &folder).ok();
    assert!(run.stdout.contains(&lab.store.name()) && !run.stderr.contains("secret"), "{run:?}");
    // A secret of the environment still does not travel, whatever it is called.
    repo.write("trace.log", "token q8Zr1Lw5Tn3Vb7Xk9Mc2Jd6Hf4Gs0PyA\n");
    let run = lab.agent.envctl(words).cwd(&repo.path).env("ACTIONS_RUNTIME_TOKEN", "q8Zr1Lw5Tn3Vb7Xk9Mc2Jd6Hf4Gs0PyA");
    run.code(6).says(&["trace.log"]);
}
