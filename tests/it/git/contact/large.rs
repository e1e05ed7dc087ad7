//! Where large files are fetched from, and who gets a password for them.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::passwords::{PASSWORD, helper};
use super::{Far, Server, files, wants_a_password};
use crate::support::{ImageBuilder, Run, Trip, sha256};

const CONTENT: &[u8] = b"the large file";

/// The content of another large file.
fn another(n: usize) -> String {
    format!("another large file, {n}\n")
}

type Reply = (String, Vec<u8>);

/// Hosts of a scene: the approved one, and one that nobody approved.
#[derive(Clone, Default)]
struct Hosts {
    own: String,
    third: String,
    third_port: u16,
    oid: String,
}

impl Hosts {
    /// The answer of the batch interface that names this place.
    fn batch(&self, href: &str) -> Reply {
        let actions =
            json!({ "download": { "href": href, "header": { "X-Given": "for this place", "Host": "evil" } } });
        self.answer(&json!({ "transfer": "basic", "objects": [{ "oid": self.oid, "size": 14, "actions": actions }] }))
    }

    fn answer(&self, document: &serde_json::Value) -> Reply {
        let kind = "200 OK\r\nContent-Type: application/vnd.git-lfs+json";
        (kind.into(), serde_json::to_vec(document).unwrap())
    }
}

fn to(place: &str) -> Reply {
    (format!("307 Temporary Redirect\r\nLocation: {place}"), Vec::new())
}

/// A task with a large file; the approved server answers for its files, and as
/// `reply` says. Another server gives it to whoever has a password.
struct Scene {
    far: Far,
    server: Server,
    third: Server,
    task: String,
}

impl Scene {
    /// By http; what `reply` says for a path, and whether there was a password.
    fn new(reply: impl Fn(&Hosts, &str, bool) -> Option<Reply> + Send + 'static) -> Self {
        Scene::of(Trip::new(), |server, _| format!("http://{}/shop.git", server.host), "http://", reply)
    }

    /// With so many more large files.
    fn with_more(more: usize, reply: impl Fn(&Hosts, &str, bool) -> Option<Reply> + Send + 'static) -> Self {
        Scene::made(Trip::new(), more, |server, _| format!("http://{}/shop.git", server.host), ("http://", reply))
    }

    fn of(
        trip: Trip,
        url: impl Fn(&Server, &Far) -> String,
        scheme: &str,
        reply: impl Fn(&Hosts, &str, bool) -> Option<Reply> + Send + 'static,
    ) -> Self {
        Scene::made(trip, 0, url, (scheme, reply))
    }

    fn made(
        trip: Trip,
        more: usize,
        url: impl Fn(&Server, &Far) -> String,
        (scheme, reply): (&str, impl Fn(&Hosts, &str, bool) -> Option<Reply> + Send + 'static),
    ) -> Self {
        let far = Far::new(trip);
        let repo = far.trip.lab.repo.clone().with_lfs();
        repo.git(&["lfs", "install", "--local"]);
        repo.git(&["lfs", "track", "*.bin"]);
        repo.write("large.bin", CONTENT);
        for n in 0..more {
            repo.write(format!("more/{n}.bin"), another(n));
        }
        repo.commit("large");
        repo.push();
        repo.seen_by(&far.trip.lab.agent, &repo.remote).git(&["update-server-info"]);
        let oid = repo.git(&["lfs", "ls-files", "--long"]).split(' ').next().unwrap().to_owned();
        let third = Server::new(|_, known| if known { ("200 OK".into(), CONTENT.into()) } else { wants_a_password() });
        let hosts = Arc::new(Mutex::new(Hosts::default()));
        let (known_hosts, serve) = (Arc::clone(&hosts), files(&repo.remote, "/shop.git/"));
        let server = Server::new(move |path, known| {
            let hosts = known_hosts.lock().unwrap().clone();
            reply(&hosts, path, known).unwrap_or_else(|| match path {
                "/object" => ("200 OK".into(), CONTENT.into()),
                _ => serve(path),
            })
        });
        let own = server.host.clone();
        *hosts.lock().unwrap() = Hosts { own, third: third.host.clone(), third_port: third.port, oid };
        far.approve(&format!("{scheme}{}", server.host));
        let task = far.task(&url(&server, &far));
        Scene { far, server, third, task }
    }

    /// Enters with a helper and a `.netrc` that know a password for everybody.
    fn enter(&self, ssh: &str) -> (Run, bool) {
        let config = helper(&self.far, "");
        self.far.dev().write("home/.netrc", format!("default login dev password {PASSWORD}\n"));
        let run = self.far.entering(&self.task, ssh).arg("-v").env("GIT_CONFIG_GLOBAL", &config).ok();
        let content = fs::read(std::path::Path::new(run.stdout.trim()).join("large.bin")).unwrap();
        (run, content == CONTENT)
    }

    fn asked_for_large_files(&self) -> bool {
        self.server.asked().iter().any(|(path, _)| path.ends_with("/objects/batch"))
    }
}

fn is_batch(path: &str) -> bool {
    path.ends_with("/objects/batch")
}

/// The approved host says that a large file is somewhere else: nothing is asked
/// there without TLS, and what is here comes.
#[test]
fn a_large_file_elsewhere_gets_no_password_and_without_tls_no_visit() {
    let visits = |href: fn(&Hosts) -> String| {
        let scene = Scene::new(move |hosts, path, _| is_batch(path).then(|| hosts.batch(&href(hosts))));
        let (_, came) = scene.enter("exit 255");
        assert!(scene.asked_for_large_files());
        assert_eq!(scene.third.passwords(), 0, "{:?}", scene.third.asked());
        (scene.third.asked().len(), came)
    };
    assert_eq!(visits(|hosts| format!("http://localhost:{}/object", hosts.third_port)), (0, false));
    assert_eq!(visits(|hosts| format!("hTTp://localhost:{}/object", hosts.third_port)), (0, false));
    assert_eq!(visits(|hosts| format!("http://{}@{}/object", hosts.own, hosts.third)), (0, false));
    assert_eq!(visits(|_| "file:///etc/passwd".into()), (0, false));
    // Another port of the approved host is not what was approved: a visit, no password.
    assert_eq!(visits(|hosts| format!("http://{}/object", hosts.third)), (1, false));
    assert_eq!(visits(|hosts| format!("http://{}/object", hosts.own)), (0, true));
}

/// The same by redirects, of the question and of the content.
#[test]
fn a_redirect_of_large_files_takes_no_password_along() {
    let visits = |from: &'static str, place: fn(&Hosts) -> String| {
        let scene = Scene::new(move |hosts, path, known| match path {
            _ if path.ends_with(from) && !known => Some(wants_a_password()),
            _ if path.ends_with(from) => Some(to(&place(hosts))),
            _ if is_batch(path) => Some(hosts.batch(&format!("http://{}/place", hosts.own))),
            _ => None,
        });
        let (_, came) = scene.enter("exit 255");
        assert!(scene.server.passwords() > 0, "the approved one gets it: {:?}", scene.server.asked());
        assert_eq!(scene.third.passwords(), 0, "{:?}", scene.third.asked());
        (scene.third.asked().len(), came)
    };
    for from in ["/objects/batch", "/place"] {
        assert_eq!(visits(from, |hosts| format!("http://localhost:{}/object", hosts.third_port)), (0, false));
    }
    // Without TLS a content may be at another port; the question is not asked there.
    assert_eq!(visits("/place", |hosts| format!("http://{}/object", hosts.third)), (1, false));
    assert_eq!(visits("/objects/batch", |hosts| format!("http://{}/object", hosts.third)), (0, false));
    assert_eq!(visits("/place", |hosts| format!("http://{}/object", hosts.own)), (0, true));
}

/// What a server gave for one place goes to no other.
#[test]
fn a_header_for_one_place_stays_there() {
    let scene = Scene::new(|hosts, path, _| match path {
        "/place" => Some(to(&format!("http://{}/object", hosts.third))),
        _ if is_batch(path) => {
            let place =
                json!({ "href": format!("http://{}/place", hosts.own), "header": { "Authorization": "Given" } });
            let object = json!({ "oid": hosts.oid, "size": 14, "actions": { "download": place } });
            Some(hosts.answer(&json!({ "objects": [object] })))
        }
        _ => None,
    });
    scene.enter("exit 255");
    let given = Some("Given".to_owned());
    assert!(scene.server.asked().contains(&("/place".into(), given)), "{:?}", scene.server.asked());
    assert_eq!(scene.third.asked(), [("/object".into(), None)]);
}

both!(without_tls_an_ssh_host_gives_large_files_and_gets_no_password, Trip::of);
/// Approved was ssh: no password goes out in the clear, to the very host either.
fn without_tls_an_ssh_host_gives_large_files_and_gets_no_password(trip: Trip) {
    let scene = Scene::of(trip, |server, _| format!("ssh://git@{}/a;touch evil/shop.git", server.host), "", {
        |hosts, path, _| match path {
            _ if is_batch(path) => Some(hosts.batch(&format!("http://{}/object", hosts.own))),
            _ => None,
        }
    });
    let href = format!("http://{}/info/lfs", scene.server.host);
    let answer = json!({ "href": href, "header": { "Authorization": "RemoteAuth given" } });
    let script = format!("case $* in *lfs-auth*) echo '{answer}'; exit;; esac; {}", scene.far.serve());
    let (_, came) = scene.enter(&script);
    assert!(came && scene.asked_for_large_files());
    let asked = scene.server.asked();
    let batch = asked.iter().find(|(path, _)| is_batch(path)).unwrap();
    assert_eq!(batch.1.as_deref(), Some("RemoteAuth given"), "what the server gave for it");
    assert!(asked.iter().all(|(path, known)| is_batch(path) || known.is_none()), "{asked:?}");
    let calls = scene.far.calls();
    let quoted = "git-lfs-authenticate '/a;touch evil/shop.git' download";
    assert!(calls.iter().any(|call| call.ends_with(quoted)), "one word for a shell: {calls:?}");
    // One that wants the developer's password does not get it.
    let scene = Scene::of(Trip::new(), |server, _| format!("ssh://git@{}/shop.git", server.host), "", {
        |_, path, _| is_batch(path).then(wants_a_password)
    });
    let href = format!("http://{}/info/lfs", scene.server.host);
    let script = format!("case $* in *lfs-auth*) echo '{{\"href\":\"{href}\"}}'; exit;; esac; {}", scene.far.serve());
    let (_, came) = scene.enter(&script);
    assert!(!came && scene.asked_for_large_files());
    assert_eq!(scene.server.passwords(), 0, "{:?}", scene.server.asked());
}

#[test]
fn another_transfer_is_refused_and_said() {
    let scene = Scene::new(|hosts, path, _| {
        is_batch(path)
            .then(|| hosts.answer(&json!({ "transfer": "tus", "objects": [{ "oid": hosts.oid, "size": 14 }] })))
    });
    let (run, came) = scene.enter("exit 255");
    assert!(!came);
    run.says(&["wants the transfer tus", "knows only basic"]);
    let config = scene.far.dev().path("home/.gitconfig");
    scene
        .far
        .dev()
        .write(&config, "[lfs]\n standaloneTransferAgent = mine\n[lfs \"customtransfer.mine\"]\n path = x\n");
    let run =
        scene.far.entering(&scene.task, "exit 255").args(["--into", "another", "-v"]).cwd(scene.far.dev().path("home"));
    run.env("GIT_CONFIG_GLOBAL", &config).ok().says(&["transferred by a program of its own"]);
}

/// As an organisation has them: a header of the developer's for the server, and a
/// server for all repositories.
#[test]
fn settings_of_git_count_for_large_files() {
    let scene = Scene::new(|hosts, path, known| match path {
        "/own/objects/batch" if known => Some(hosts.batch(&format!("http://{}/object", hosts.own))),
        _ if is_batch(path) => Some(wants_a_password()),
        _ => None,
    });
    let config = scene.far.dev().path("home/.gitconfig");
    let text = format!(
        "[lfs]\n url = http://{0}/own/\n[http \"http://{0}/own\"]\n extraHeader = Authorization: Basic abcdefgh\n",
        scene.server.host
    );
    scene.far.dev().write(&config, text);
    let run = scene.far.entering(&scene.task, "exit 255").env("GIT_CONFIG_GLOBAL", &config).ok();
    assert_eq!(fs::read(std::path::Path::new(run.stdout.trim()).join("large.bin")).unwrap(), CONTENT);
    assert_eq!(scene.server.passwords(), 1, "{:?}", scene.server.asked());
}

#[test]
fn more_large_files_than_are_allowed_do_not_come() {
    let scene =
        Scene::new(|hosts, path, _| is_batch(path).then(|| hosts.batch(&format!("http://{}/object", hosts.own))));
    // The repository is fetched before.
    scene.far.entering(&scene.task, "exit 255").args(["--into", "first"]).cwd(scene.far.dev().path("home")).ok();
    let lfs = fs::read_dir(scene.far.dev().data().join("repos")).unwrap().next().unwrap().unwrap().path().join("lfs");
    fs::rename(&lfs, lfs.with_file_name("lost")).unwrap();
    scene.far.dev().write(scene.far.dev().config().join("config.toml"), "[workspace]\nmax_fetch = \"10\"\n");
    let run = scene.far.entering(&scene.task, "exit 255").args(["-v", "--refresh"]).ok();
    run.says(&["14 B of large files", "no more than 10 B"]);
}

/// An endless answer of the batch interface.
#[test]
fn an_answer_about_large_files_has_an_end() {
    let scene = Scene::new(|_, path, _| is_batch(path).then(|| ("200 OK".into(), vec![b' '; 6 << 20])));
    let (run, came) = scene.enter("exit 255");
    assert!(!came);
    run.says(&["larger than 4194304 bytes"]);
}

/// What lies in a workspace may have been made inside, with the remote that it names.
#[test]
fn a_checkout_in_a_workspace_says_nothing_of_the_developers_own() {
    let far = Far::new(Trip::new());
    let config = helper(&far, "");
    let server = Server::new(|_, known| if known { ("404 Not Found".into(), Vec::new()) } else { wants_a_password() });
    let lab = &far.trip.lab;
    let task = lab.publish(&ImageBuilder::busybox());
    let image = lab.images.add("run", &ImageBuilder::busybox()).reference;
    lab.sh(&task, "true");
    let workspace = std::path::PathBuf::from(lab.report()["workspace"].as_str().unwrap());
    let vendor = lab.repo.seen_by(&lab.dev, workspace.join("vendor"));
    lab.dev.mkdir(&vendor.path);
    vendor.git(&["init", "--quiet"]);
    vendor.write(".gitattributes", "*.bin filter=lfs -text\n");
    let oid = "1".repeat(64);
    vendor.write("x.bin", format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 14\n"));
    vendor.commit("planted");
    let run = |url: &str| {
        vendor.call(&["remote", "remove", "origin"]).run();
        vendor.git(&["remote", "add", "origin", url]);
        let words = ["run", "--no-input", "--image", &image, "--", "true"];
        lab.dev.envctl(words).cwd(&vendor.path).env("GIT_CONFIG_GLOBAL", &config).run()
    };
    run(&format!("http://{}/any.git", server.host));
    assert!(server.asked().is_empty(), "{:?}", server.asked());
    // Nor does it name a folder of this machine.
    let private = lab.repo.clone_to("private", &[]);
    run(&format!("file://{}", private.path.display())).code(125).says(&["a folder of this machine"]);
}

/// A host that takes connections and never answers is not waited for once for each file.
#[test]
fn a_place_that_does_not_answer_is_not_asked_for_every_large_file() {
    const MORE: usize = 60;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            kept.push(stream);
        }
    });
    let scene = Scene::with_more(MORE, move |hosts, path, _| {
        let object = |content: &[u8]| {
            let oid = sha256(content).trim_start_matches("sha256:").to_owned();
            let download = json!({ "href": format!("http://{place}/{oid}") });
            json!({ "oid": oid, "size": content.len(), "actions": { "download": download } })
        };
        let more = (0..MORE).map(|n| object(another(n).as_bytes()));
        let objects: Vec<_> = more.chain([object(CONTENT)]).collect();
        is_batch(path).then(|| hosts.answer(&json!({ "transfer": "basic", "objects": objects })))
    });
    let run = scene.far.entering(&scene.task, "exit 255").args(["--net-timeout", "1"]).ok();
    let visits = visits.load(Ordering::Relaxed);
    assert!((1..MORE / 2).contains(&visits), "{visits} of {MORE}: {}", run.stderr);
}
