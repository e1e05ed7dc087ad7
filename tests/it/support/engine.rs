//! A real docker engine of a test's own, on a socket in its own folder.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::call::until;

pub struct RealDocker {
    child: Child,
    dir: TempDir,
}

impl RealDocker {
    pub fn start() -> Self {
        // A short path: sockets have no long names.
        let dir = tempfile::Builder::new().prefix("envctl-it-docker-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("settings.json"), "{}").unwrap();
        let log = File::create(at("log")).unwrap();
        let mut child = Command::new("dockerd")
            .args(["--debug", "--iptables=false", "--bridge=none", "--config-file"])
            .arg(at("settings.json"))
            .args(["--host", &format!("unix://{}", at("sock").display())])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            // Where its containerd puts what it says when it is slow to end.
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start dockerd, which tests/run installs: {error}"));
        until("dockerd listens", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(at("log")).unwrap());
            std::os::unix::net::UnixStream::connect(at("sock")).is_ok()
                && fs::read_to_string(at("log")).unwrap().contains("API listen on")
        });
        RealDocker { child, dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// How often it was asked for the whole of an image.
    pub fn saved(&self) -> usize {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        log.lines().filter(|line| line.contains("GET /images/") && line.contains("/get")).count()
    }
}

impl Drop for RealDocker {
    fn drop(&mut self) {
        // It ends its containerd and its mounts itself, if it is asked to.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
