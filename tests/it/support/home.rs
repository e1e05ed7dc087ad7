//! A hermetic person: folders of their own, an empty environment, and on
//! request the unprivileged account that `tests/run` makes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::call::Call;

const BINARY: &str = env!("CARGO_BIN_EXE_envctl");
const ACCOUNT: &str = "envctl-test";

/// Copies are the same person.
#[derive(Clone)]
pub struct Home(Arc<Inner>);

struct Inner {
    dir: TempDir,
    account: Option<Account>,
    binary: PathBuf,
}

/// A whole run has root's tests in memory and the account's on the disk: that is faster,
/// and two kinds of file system are tried.
#[expect(clippy::disallowed_methods, reason = "a test reads what `tests/run` says")]
fn place_of(account: Option<Account>) -> PathBuf {
    let memory = std::env::var_os("ENVCTL_TEST_MEMORY").filter(|_| account.is_none());
    memory.map_or_else(std::env::temp_dir, PathBuf::from)
}

#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Home {
    /// Whoever runs the tests.
    pub fn new() -> Self {
        Self::of(None)
    }

    /// The unprivileged account; fails the test where there is none.
    pub fn unprivileged() -> Self {
        Self::of(Some(Account::find()))
    }

    fn of(account: Option<Account>) -> Self {
        // A run of all tests clears what it leaves where it is killed.
        let prefix = format!("envctl-it-{}", run_of_tests());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(place_of(account)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = match account {
            Some(account) if !account.reaches_binary() => {
                // Not copied by this process: a fork of another test would
                // inherit the open file, and running it would be ETXTBSY.
                let copy = dir.path().join("envctl");
                assert!(Command::new("cp").arg(BINARY).arg(&copy).status().unwrap().success());
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
                copy
            }
            _ => BINARY.into(),
        };
        let home = Home(Arc::new(Inner { dir, account, binary }));
        for folder in ["", "home", "config", "cache", "data", "state"] {
            let path = home.path(folder);
            fs::create_dir_all(&path).unwrap();
            home.give(&path);
        }
        home
    }

    /// A place in the folder that vanishes with this home.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.dir.path().join(relative)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config/envctl")
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache/envctl")
    }

    pub fn data(&self) -> PathBuf {
        self.path("data/envctl")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state/envctl")
    }

    pub fn is_unprivileged(&self) -> bool {
        self.0.account.is_some()
    }

    /// The program under test, where this person may run it.
    pub fn binary(&self) -> &Path {
        &self.0.binary
    }

    pub fn envctl(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Call {
        self.call(&self.0.binary, args)
    }

    /// Any program, as this person and with nothing but this environment.
    pub fn call(&self, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Call {
        let mut command = match &self.0.account {
            Some(_) => Account::become_it(program),
            None => Command::new(found(program.as_ref())),
        };
        command.args(args).env_clear().env("PATH", search_path()).env("LANG", "C.UTF-8").env("HOME", self.path("home"));
        for name in ["config", "cache", "data", "state"] {
            command.env(format!("XDG_{}_HOME", name.to_uppercase()), self.path(name));
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.current_dir(self.path("home"));
        Call::new(command)
    }

    /// Whether nothing of envctl works for this person any more, also in the background.
    pub fn is_quiet(&self) -> bool {
        at_work_in(self.0.dir.path()).is_empty()
    }

    /// Writes a file, and makes the folders above it, for this person.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        self.mkdir(path.parent().unwrap());
        fs::write(&path, bytes).unwrap();
        self.give(&path);
    }

    /// Makes a folder, and those above it, for this person.
    pub fn mkdir(&self, path: impl AsRef<Path>) {
        let path = self.path(path);
        if !path.is_dir() {
            self.mkdir(path.parent().unwrap());
            fs::create_dir(&path).unwrap();
            self.give(&path);
        }
    }

    /// Lets this person own what the test made.
    fn give(&self, path: &Path) {
        if let Some(account) = self.0.account {
            chown(path, Some(account.uid), Some(account.gid)).unwrap();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !rustix::process::geteuid().is_root() {
            open_up(self.dir.path());
        }
        // What works on in the background would put its folders here once more. What a
        // test that has failed left running is ended.
        let began = Instant::now();
        let patience = Duration::from_secs(if std::thread::panicking() { 0 } else { 10 });
        loop {
            let at_work = at_work_in(self.dir.path());
            if at_work.is_empty() || began.elapsed() > patience + Duration::from_secs(10) {
                return;
            }
            if began.elapsed() >= patience {
                for process in at_work {
                    let _ = kill_process(process, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the environment of the tests")]
fn run_of_tests() -> String {
    std::env::var("ENVCTL_TEST_RUN").unwrap_or_default()
}

/// The processes of envctl that have their home in this folder, or were given a place
/// in it, such as a store.
fn at_work_in(dir: &Path) -> Vec<Pid> {
    let name = dir.as_os_str().as_bytes();
    let is_named = |file: PathBuf| fs::read(file).is_ok_and(|text| memchr::memmem::find(&text, name).is_some());
    let is_at_work = |process: &Path| {
        fs::read(process.join("comm")).is_ok_and(|comm| comm.starts_with(b"envctl"))
            && ["environ", "cmdline"].iter().any(|file| is_named(process.join(file)))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let numbers = processes.filter(|process| is_at_work(process));
    numbers.filter_map(|process| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?)).collect()
}

/// Unpacked layers may hold folders that even their owner cannot empty.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

impl Account {
    fn find() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test acts as {ACCOUNT}: run tests/run as root");
        let ask = |flag| -> Option<u32> {
            let output = Command::new("id").args([flag, ACCOUNT]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().ok()
        };
        match (ask("-u"), ask("-g")) {
            (Some(uid), Some(gid)) => Account { uid, gid },
            _ => panic!("this test needs the account {ACCOUNT}: tests/run makes it"),
        }
    }

    fn become_it(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(found("setpriv".as_ref()));
        let (user, group) = (format!("--reuid={ACCOUNT}"), format!("--regid={ACCOUNT}"));
        command.args([&user, &group, "--init-groups", "--"]).arg(program);
        command
    }

    /// The target folder may lie below a home that others cannot enter.
    fn reaches_binary(self) -> bool {
        static REACHES: OnceLock<bool> = OnceLock::new();
        *REACHES.get_or_init(|| Self::become_it("test").args(["-x", BINARY]).status().unwrap().success())
    }
}

/// Where a program is. With the path of it the standard library starts it by
/// `vfork`, with its name alone by `fork`, which copies the tables of a process as
/// large as this one.
fn found(program: &OsStr) -> PathBuf {
    let is_name = Path::new(program).components().count() == 1;
    let places = std::env::split_paths(&search_path()).map(|folder| folder.join(program)).collect::<Vec<_>>();
    let place = places.into_iter().filter(|_| is_name).find(|place| place.is_file());
    place.unwrap_or_else(|| program.into())
}

#[allow(clippy::disallowed_methods, reason = "the programs under test are found where the tests were started")]
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
