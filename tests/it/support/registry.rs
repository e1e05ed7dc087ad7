//! A real registry on loopback: Debian's `docker-registry`, with a password
//! or TLS where a test wants them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::call::until;

pub const USER: &str = "agent";
pub const PASSWORD: &str = "correct horse";

pub struct RealRegistry {
    child: Child,
    dir: TempDir,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

/// What it asks of those who come.
#[derive(Clone, Copy, Default)]
pub struct Wants {
    pub password: bool,
    pub tls: bool,
    /// It notes each request.
    pub noted: bool,
}

impl RealRegistry {
    pub fn start() -> Self {
        Self::that(Wants::default())
    }

    pub fn that(wants: Wants) -> Self {
        let dir = tempfile::Builder::new().prefix("envctl-it-registry-").tempdir().unwrap();
        // Others may read the certificate authority.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // Free now; nobody else asks for this port number in between.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: {}}}}}\nstorage:\n  delete: {{enabled: true}}\n  \
             filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            !wants.noted,
            at("data")
        );
        if wants.tls {
            certificate(dir.path());
            config += &format!("  tls: {{certificate: {}, key: {}}}\n", at("cert.pem"), at("key.pem"));
        }
        if wants.password {
            let table = run(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]));
            fs::write(dir.path().join("htpasswd"), table).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("htpasswd"));
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start docker-registry, which tests/run installs: {error}"));
        let host = format!("127.0.0.1:{port}");
        until("the registry listens", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(dir.path().join("log")).unwrap());
            TcpStream::connect(&host).is_ok()
        });
        RealRegistry { child, dir, host }
    }

    /// A repository on it.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// The requests that it noted: a method and a path each.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        let request = |line: &str| Some(line.split('"').nth(1)?.rsplit_once(" HTTP/")?.0.to_owned());
        log.lines().filter_map(request).filter(|request| request.contains(" /v2/")).collect()
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Ends it; what it stored is gone with it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.end();
    }
}

/// An authority, and a certificate of it for loopback.
fn certificate(dir: &Path) {
    let openssl = |args: &str| run(Command::new("openssl").args(args.split(' ')).current_dir(dir));
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE",
    );
    openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout key.pem -out request.pem",
    );
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem");
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
