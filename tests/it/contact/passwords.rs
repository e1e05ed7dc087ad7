//! Who is given the developer's passwords, and who asks for them.

use super::{Far, Server, files, wants_a_password};
use crate::support::Trip;

const PASSWORD: &str = "hunter2-of-the-developer";

/// A helper of git's that knows a password for everybody, and notes who asks.
fn helper(far: &Far, more: &str) -> std::path::PathBuf {
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

#[test]
fn a_helper_is_asked_for_the_approved_host_and_its_words_are_kept_back() {
    for far in Far::both() {
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
}

#[test]
fn with_no_input_nobody_is_asked_by_whatever_way() {
    for far in Far::both() {
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
}

/// The approved host says that a large file is somewhere else: nothing is asked
/// there without TLS, and what is here comes.
#[test]
fn a_large_file_elsewhere_gets_no_password_and_without_tls_no_visit() {
    let visits = |href: &dyn Fn(&Server, &str) -> String| {
        let (third, passwords, content) = large_file(href);
        assert_eq!(passwords, 0, "{:?}", third.asked());
        (third.asked().len(), content)
    };
    assert_eq!(visits(&|third, _| format!("http://localhost:{}/object", third.port)), (0, false));
    assert_eq!(visits(&|third, _| format!("hTTp://{}/object", third.host)), (0, false));
    assert_eq!(visits(&|third, own| format!("http://{own}@{}/object", third.host)), (0, false));
    assert_eq!(visits(&|_, own| format!("http://{own}/object")), (0, true));
}

/// A third host, how many passwords it was given, and whether the content came.
fn large_file(href: &dyn Fn(&Server, &str) -> String) -> (Server, usize, bool) {
    let far = Far::new(Trip::new());
    let repo = far.trip.lab.repo.clone().with_lfs();
    repo.git(&["lfs", "install", "--local"]);
    repo.git(&["lfs", "track", "*.bin"]);
    repo.write("large.bin", "the large file");
    repo.commit("large");
    repo.push();
    repo.seen_by(&far.trip.lab.agent, &repo.remote).git(&["update-server-info"]);
    let oid = repo.git(&["lfs", "ls-files", "--long"]).split(' ').next().unwrap().to_owned();
    let third =
        Server::new(|_, known| if known { ("200 OK".into(), b"the large file".to_vec()) } else { wants_a_password() });
    let serve = files(&repo.remote, "/shop.git/");
    let place = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let named = std::sync::Arc::clone(&place);
    let server = Server::new(move |path, _| {
        let href = named.lock().unwrap().clone();
        if path == "/object" {
            return ("200 OK".into(), b"the large file".to_vec());
        }
        if !path.ends_with("/objects/batch") {
            return serve(path);
        }
        let object = serde_json::json!({ "oid": oid, "size": 14, "actions": { "download": { "href": href } } });
        let answer = serde_json::json!({ "transfer": "basic", "objects": [object] });
        ("200 OK\r\nContent-Type: application/vnd.git-lfs+json".into(), serde_json::to_vec(&answer).unwrap())
    });
    *place.lock().unwrap() = href(&third, &server.host);
    far.approve(&format!("http://{}", server.host));
    let task = far.task(&format!("http://{}/shop.git", server.host));
    let config = helper(&far, "");
    far.dev().write("home/.netrc", format!("default login dev password {PASSWORD}\n"));
    let run = far.entering(&task, "exit 255").env("GIT_CONFIG_GLOBAL", &config).ok();
    let content = std::fs::read(std::path::Path::new(run.stdout.trim()).join("large.bin")).unwrap();
    assert!(server.asked().iter().any(|(path, _)| path.ends_with("/objects/batch")), "{:?}", server.asked());
    let passwords = third.passwords();
    (third, passwords, content == b"the large file")
}

#[test]
fn a_rule_with_a_password_is_refused_with_the_way_to_do_it() {
    for far in Far::both() {
        let rule = format!("[[url]]\nfrom = \"https://a.example/\"\nto = \"https://dev:{PASSWORD}@b.example/\"\n");
        far.dev().write("config/envctl/config.toml", rule);
        let run = far.entering(&far.task("https://a.example/x"), "exit 255").code(2).says(&["git credential approve"]);
        assert!(!run.stderr.contains(PASSWORD), "{}", run.stderr);
    }
}
