//! Against an agent that signs whatever it gets, and a host whose key is known.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

const KEY: &[u8] = b"the public key of the developer";
const OTHER: &[u8] = b"another public key of theirs";

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    parts.iter().for_each(|part| packet::add(&mut all, part));
    all
}

/// A host: what it is known by, and how it signs.
struct Host {
    pair: Ed25519KeyPair,
    key: Vec<u8>,
}

impl Host {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = strings(&[b"ssh-ed25519", pair.public_key().as_ref()]);
        Host { pair, key }
    }

    fn bind(&self, session: &[u8], forwarded: u8) -> Vec<u8> {
        let signed = strings(&[b"ssh-ed25519", self.pair.sign(session).as_ref()]);
        let mut message = vec![EXTENSION];
        message.extend(strings(&[BIND, &self.key, session, &signed]));
        message.push(forwarded);
        message
    }
}

/// What ssh has signed to log in.
fn login(session: &[u8], account: &[u8], method: &[u8], key: &[u8], host: &[u8]) -> Vec<u8> {
    let mut data = strings(&[session]);
    data.push(LOGIN);
    data.extend(strings(&[account, b"ssh-connection", method]));
    data.push(1);
    data.extend(strings(&[b"ssh-ed25519", key]));
    if method != b"publickey" {
        data.extend(strings(&[host]));
    }
    data
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = vec![SIGN];
    message.extend(strings(&[key, data]));
    message.extend([0; 4]);
    message
}

/// A plain agent, which notes what it is asked, and the relay before it.
struct Scene {
    _folder: tempfile::TempDir,
    agent: Agent,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Scene {
    fn new(host: &Host, only: Option<Vec<Vec<u8>>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                while let Ok(message) = packet::receive(&stream) {
                    noted.lock().unwrap().push(message[0]);
                    let answer = match message[0] {
                        LIST => [&[LISTED, 0, 0, 0, 2][..], &strings(&[KEY, b"a@home", OTHER, b"b@home"])].concat(),
                        SIGN => [&[SIGNED][..], &strings(&[b"a signature"])].concat(),
                        _ => vec![FAILURE],
                    };
                    packet::send(&stream, &answer).unwrap();
                }
            }
        });
        let host = AgentHost { name: "git.example".into(), account: "git".into(), keys: vec![host.key.clone()], only };
        Scene { _folder: folder, agent: Agent { socket, hosts: vec![host] }, asked }
    }

    /// What the messages of one connection are answered, by their first byte.
    fn say(&self, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        self.say_while(messages, &|| true)
    }

    /// The same, as long as the agent may be asked.
    fn say_while(&self, messages: &[Vec<u8>], may_ask: &(dyn Fn() -> bool + Sync)) -> Vec<Vec<u8>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || self.agent.serve(&theirs, &|_| true, may_ask, &|_| {}));
            let answers = messages.iter().map(|message| {
                packet::send(&ours, message).unwrap();
                packet::receive(&ours).unwrap()
            });
            let answers = answers.collect();
            drop(ours);
            answers
        })
    }

    fn kinds(&self, messages: &[Vec<u8>]) -> Vec<u8> {
        self.say(messages).iter().map(|answer| answer[0]).collect()
    }
}

#[test]
fn a_login_at_the_approved_host_is_signed() {
    let host = Host::new(1);
    let scene = Scene::new(&host, None);
    let session = [7; 32];
    for method in [&b"publickey"[..], b"publickey-hostbound-v00@openssh.com"] {
        let ask = sign(KEY, &login(&session, b"git", method, KEY, &host.key));
        let answers = scene.say(&[host.bind(&session, 0), vec![LIST], ask]);
        assert_eq!(answers[0], [SUCCESS]);
        assert_eq!(answers[1], [&[LISTED, 0, 0, 0, 2][..], &strings(&[KEY, b"", OTHER, b""])].concat());
        assert_eq!(answers[2], [&[SIGNED][..], &strings(&[b"a signature"])].concat());
    }
}

#[test]
fn no_more_signatures_are_asked_for_than_may_be() {
    let host = Host::new(1);
    let scene = Scene::new(&host, None);
    let ask = sign(KEY, &login(&[7; 32], b"git", b"publickey", KEY, &[]));
    let left = AtomicUsize::new(3);
    let may_ask = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let asked = [vec![host.bind(&[7; 32], 0)], vec![ask; 5]].concat();
    let kinds: Vec<u8> = scene.say_while(&asked, &may_ask).iter().map(|answer| answer[0]).collect();
    assert_eq!(kinds, [SUCCESS, SIGNED, SIGNED, FAILURE, FAILURE, FAILURE]);
    assert_eq!(scene.say_while(&asked[..1], &may_ask), [[FAILURE]]);
    assert_eq!(scene.asked.lock().unwrap().iter().filter(|kind| **kind == SIGN).count(), 2);
}

#[test]
fn each_account_of_a_host_has_its_logins_and_its_keys() {
    let host = Host::new(1);
    let mut scene = Scene::new(&host, Some(vec![KEY.to_vec()]));
    let of_deploy =
        AgentHost { account: "deploy".into(), only: Some(vec![OTHER.to_vec()]), ..scene.agent.hosts[0].clone() };
    scene.agent.hosts.push(of_deploy);
    let session = [7; 32];
    let signed = |account: &[u8], key: &[u8]| {
        let ask = sign(key, &login(&session, account, b"publickey", key, &[]));
        let answers = scene.say(&[host.bind(&session, 0), vec![LIST], ask]);
        assert_eq!(answers[1], [&[LISTED, 0, 0, 0, 2][..], &strings(&[KEY, b"", OTHER, b""])].concat());
        answers[2][0]
    };
    assert_eq!((signed(b"git", KEY), signed(b"deploy", OTHER)), (SIGNED, SIGNED));
    assert_eq!((signed(b"git", OTHER), signed(b"deploy", KEY), signed(b"root", KEY)), (FAILURE, FAILURE, FAILURE));
    let text = String::from_utf8(scene.agent.known_hosts()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn nobody_waits_for_an_agent_or_a_program_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let soon = Duration::from_millis(50);
    let waiting: Vec<_> = (0..10).map_while(|_| connected(&path, soon).ok()).collect();
    assert!(waiting.len() < 10, "its queue is full");
    let (_ours, theirs) = UnixStream::pair().unwrap();
    Agent { socket: path, hosts: Vec::new() }.serve(&theirs, &|_| false, &|| true, &|_| {});
    assert_eq!((theirs.read_timeout().unwrap(), theirs.write_timeout().unwrap()), (Some(PATIENCE), Some(PATIENCE)));
}

#[test]
fn whoever_shows_no_session_with_the_host_gets_no_key_and_no_signature() {
    let (host, evil) = (Host::new(1), Host::new(2));
    let scene = Scene::new(&host, None);
    let session = [7; 32];
    let ask = sign(KEY, &login(&session, b"git", b"publickey", KEY, &[]));
    // Without a word, with another host's, forwarded, and with a signature over another session.
    let mut crossed = host.bind(&session, 0);
    let place = crossed.windows(32).position(|window| window == session).unwrap();
    crossed[place] = 8;
    let mut forged = evil.bind(&session, 0);
    let place = forged.windows(evil.key.len()).position(|window| window == evil.key).unwrap();
    forged[place..place + host.key.len()].copy_from_slice(&host.key);
    for first in [None, Some(evil.bind(&session, 0)), Some(host.bind(&session, 1)), Some(crossed), Some(forged)] {
        let messages: Vec<_> = first.into_iter().chain([vec![LIST], ask.clone()]).collect();
        let answers = scene.say(&messages);
        assert!(answers.iter().rev().skip(2).all(|answer| *answer == [FAILURE]), "{answers:?}");
        let rest: Vec<_> = answers.iter().rev().take(2).rev().collect();
        assert_eq!(rest, [&[LISTED, 0, 0, 0, 0][..], &[FAILURE]]);
    }
    assert!(scene.asked.lock().unwrap().is_empty(), "the agent has heard nothing of it");
}

#[test]
fn nothing_but_a_login_to_that_session_and_account_is_signed() {
    let (host, other) = (Host::new(1), Host::new(2));
    let scene = Scene::new(&host, None);
    let session = [7; 32];
    let good = login(&session, b"git", b"publickey", KEY, &[]);
    let mut longer = good.clone();
    longer.push(0);
    let mut question = good.clone();
    let place = strings(&[&session]).len() + 1 + strings(&[b"git", b"ssh-connection", b"publickey"]).len();
    question[place] = 0;
    for data in [
        login(&[8; 32], b"git", b"publickey", KEY, &[]),
        login(&session, b"root", b"publickey", KEY, &[]),
        login(&session, b"git", b"hostbased", KEY, &host.key),
        login(&session, b"git", b"publickey-hostbound-v00@openssh.com", KEY, &other.key),
        login(&session, b"git", b"publickey", OTHER, &[]),
        longer,
        question,
        b"SSHSIG: a file that somebody wants signed".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(scene.kinds(&[host.bind(&session, 0), sign(KEY, &data)]), [SUCCESS, FAILURE], "{data:?}");
    }
    // Of what else an agent can do nothing reaches it: remove (19), add (17, 25), lock (22), load (20).
    for kind in [1, 9, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 99] {
        let message = [&[kind][..], &strings(&[b"x", b"y"])].concat();
        assert_eq!(scene.kinds(&[host.bind(&session, 0), message]), [SUCCESS, FAILURE], "{kind}");
    }
    let asked = scene.asked.lock().unwrap();
    assert!(asked.iter().all(|kind| *kind == EXTENSION), "{asked:?}");
}

#[test]
fn only_keys_that_are_offered_there_are_seen_and_used() {
    let host = Host::new(1);
    let scene = Scene::new(&host, Some(vec![KEY.to_vec()]));
    let session = [7; 32];
    let ask = |key: &[u8]| sign(key, &login(&session, b"git", b"publickey", key, &[]));
    let answers = scene.say(&[host.bind(&session, 0), vec![LIST], ask(KEY), ask(OTHER)]);
    assert_eq!(answers[1], [&[LISTED, 0, 0, 0, 1][..], &strings(&[KEY, b""])].concat());
    assert_eq!((answers[2][0], answers[3][0]), (SIGNED, FAILURE));
}

#[test]
fn keys_of_ssh_keygen_verify() {
    // Each kind that a git server has, as ssh-keygen makes it: what it signs is SSHSIG's,
    // whose parts are those of a signature over a session.
    let folder = tempfile::tempdir().unwrap();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "2048")] {
        let (key, data) = (folder.path().join(format!("{kind}{bits}")), folder.path().join("data"));
        std::fs::write(&data, "of tests").unwrap();
        let keygen = |words: &[&str]| {
            let run = std::process::Command::new("ssh-keygen").args(words).output().unwrap();
            assert!(run.status.success(), "{run:?}");
            run.stdout
        };
        let path = key.to_str().unwrap();
        keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-f", path]);
        let _ = std::fs::remove_file(data.with_extension("sig"));
        keygen(&["-q", "-Y", "sign", "-n", "x", "-f", path, data.to_str().unwrap()]);
        let armoured = std::fs::read_to_string(data.with_extension("sig")).unwrap();
        let text: String = armoured.lines().filter(|line| !line.starts_with('-')).collect();
        let signed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        let mut parts = Parts(&signed[6 + 4..]);
        let public = parts.string().unwrap();
        let (_namespace, _reserved, hash) = (parts.string(), parts.string(), parts.string().unwrap());
        let signature = parts.string().unwrap();
        let digest: &ring::digest::Algorithm =
            if hash == b"sha256" { &ring::digest::SHA256 } else { &ring::digest::SHA512 };
        let digest = ring::digest::digest(digest, b"of tests");
        let over = [b"SSHSIG".to_vec(), strings(&[b"x", b"", hash, digest.as_ref()])].concat();
        assert!(host_key::has_signed(public, signature, &over), "{kind} {bits}");
        assert!(!host_key::has_signed(public, signature, b"something else"), "{kind} {bits}");
    }
}
