//! Who is given the developer's passwords, and who asks for them.

use base64::Engine as _;

use super::{Far, Server, far, files, wants_a_password};

pub(super) const PASSWORD: &str = "hunter2-of-the-developer";

/// A helper of git's that knows a password for everybody, and notes who asks.
pub(super) fn helper(far: &Far, more: &str) -> std::path::PathBuf {
    let log = far.dev().path("home/asked");
    let script = format!(
        "cat >>{}\n[ \"$1\" = get ] || exit 0\n{more}\necho username=dev\necho password={PASSWORD}",
        log.display()
    );
    let program = far.program("git-credential-test", &script);
    let config = far.dev().path("home/.gitconfig");
    far.dev().write(&config, format!("[credential]\n helper = {}\n", program.display()));
    config
}

both!(a_helper_is_asked_for_the_approved_host_and_its_words_are_kept_back, far);
fn a_helper_is_asked_for_the_approved_host_and_its_words_are_kept_back(far: Far) {
    far.trip.lab.repo.seen_by(&far.trip.lab.agent, &far.trip.lab.repo.remote).git(&["update-server-info"]);
    let serve = files(&far.trip.lab.repo.remote, "/shop.git/");
    let server = Server::new(move |path, known| if known { serve(path) } else { wants_a_password() });
    far.approve(&format!("http://{}", server.host));
    let task = far.task(&format!("http://{}/shop.git", server.host));
    // One that fails, and says the password.
    let failing = helper(&far, &format!("echo the password is {PASSWORD} >&2; echo {PASSWORD}; exit 1"));
    let run = far.entering(&task, "exit 255").env("GIT_CONFIG_GLOBAL", &failing).code(7);
    assert!(!run.stderr.contains(PASSWORD) && !run.stdout.contains(PASSWORD), "{}", run.stderr);
    let config = helper(&far, "");
    far.entering(&task, "exit 255").env("GIT_CONFIG_GLOBAL", &config).ok();
    let asked = std::fs::read_to_string(far.dev().path("home/asked")).unwrap();
    assert!(asked.contains(&format!("host={}", server.host)), "{asked}");
    assert!(server.passwords() > 0);
}

both!(with_no_input_nobody_is_asked_by_whatever_way, far);
fn with_no_input_nobody_is_asked_by_whatever_way(far: Far) {
    let server = Server::new(|_, _| wants_a_password());
    far.approve(&format!("http://{}", server.host));
    let task = far.task(&format!("http://{}/shop.git", server.host));
    let mark = far.dev().path("home/typed");
    let ask = far.program("ask", &format!("echo \"$*\" >>{}\necho typed", mark.display()));
    let config = far.dev().path("home/.gitconfig");
    let own = format!("[core]\n askPass = {}\n[credential]\n interactive = true\n", ask.display());
    far.dev().write(&config, own);
    for variable in ["GIT_ASKPASS", "SSH_ASKPASS", "UNUSED"] {
        let entering = far.entering(&task, "exit 255").env("GIT_CONFIG_GLOBAL", &config);
        entering.env(variable, &ask).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0").code(7);
    }
    assert!(!mark.exists(), "{}", std::fs::read_to_string(mark).unwrap());
    assert_ne!(server.asked(), []);
}

both!(what_a_git_server_repeats_of_a_password_is_not_printed, far);
/// A server that says to everybody what it was sent, as it came and as it is meant.
fn what_a_git_server_repeats_of_a_password_is_not_printed(far: Far) {
    let server = Server::new(|_, known| {
        if !known {
            return wants_a_password();
        }
        let sent = base64::engine::general_purpose::STANDARD.encode(format!("dev:{PASSWORD}"));
        let words = format!("your password is {PASSWORD}\nand it came as {sent}\n");
        ("403 Forbidden\r\nContent-Type: text/plain".into(), words.into_bytes())
    });
    far.approve(&format!("http://{}", server.host));
    let task = far.task(&format!("http://{}/shop.git", server.host));
    let sent = base64::engine::general_purpose::STANDARD.encode(format!("dev:{PASSWORD}"));
    let rule = format!("[url \"http://dev:{PASSWORD}@{0}/\"]\n insteadOf = http://{0}/\n", server.host);
    let basic = format!("[http]\n extraHeader = Authorization: Basic {sent}\n");
    for way in ["helper", "netrc", "rule", "header"] {
        let config = helper(&far, "");
        let netrc = far.dev().path("home/.netrc");
        match way {
            "netrc" => far.dev().write(&netrc, format!("default login dev password {PASSWORD}\n")),
            "rule" => far.dev().write(&config, &rule),
            "header" => far.dev().write(&config, &basic),
            _ => {}
        }
        let run = far.entering(&task, "exit 255").args(["-v", "--json"]).env("GIT_CONFIG_GLOBAL", &config).code(7);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("your password is [secret]"), "{way}: {said}");
        assert!(!said.contains(PASSWORD) && !said.contains(&sent), "{way}: {said}");
        let _ = std::fs::remove_file(netrc);
    }
}

both!(a_rule_with_a_password_is_refused_with_the_way_to_do_it, far);
fn a_rule_with_a_password_is_refused_with_the_way_to_do_it(far: Far) {
    let rule = format!("[[url]]\nfrom = \"https://a.example/\"\nto = \"https://dev:{PASSWORD}@b.example/\"\n");
    far.dev().write("config/envctl/config.toml", rule);
    let run = far.entering(&far.task("https://a.example/x"), "exit 255").code(2).says(&["git credential approve"]);
    assert!(!run.stderr.contains(PASSWORD), "{}", run.stderr);
}
