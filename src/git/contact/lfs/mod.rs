//! Contents of large files, from where a repository has them: by the batch
//! interface of Git LFS with basic transfers, or from the folder of a repository
//! of this machine. The git-lfs program is not used: it follows redirects and
//! places by itself, and takes passwords along.

mod batch;
mod client;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};

use super::super::lfs::{Contents, Pointer};
use super::way::Contact;
use crate::digest::Verified;
use crate::disk;
use crate::error::{Kind, failure, kind_of, of_thread, policy};
use crate::identity::Scheme;
use crate::ui::human_bytes;
use batch::{AT_ONCE, MEDIA_TYPE};
use client::Client;

/// No honest answer about [`AT_ONCE`] contents is longer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// Bytes of a file that names a folder.
const MAX_NAMED: u64 = 8 << 10;

/// So many contents come at the same time.
const LANES: usize = 4;

/// A server that was silent more often is not asked for the rest.
const MOST_SILENT: usize = 3;

/// Takes a content that is whole.
pub(super) type Keep<'a> = &'a (dyn Fn(&Pointer, &mut dyn std::io::Read) -> Result<()> + Sync);

/// Gets contents, and has each of them kept. The first reason why one cannot be
/// had comes back; what came stays.
///
/// # Errors
/// Also when nobody can be asked.
pub(super) fn fetch(contact: &Contact<'_>, wanted: &[&Pointer], keep: Keep<'_>) -> Result<()> {
    let bytes = wanted.iter().fold(0u64, |sum, pointer| sum.saturating_add(pointer.size));
    if bytes > contact.order.most {
        return Err(policy(format!(
            "{} of large files, and envctl fetches no more than {} at once",
            human_bytes(bytes),
            human_bytes(contact.order.most)
        ))
        .hint("if you want that: [workspace] max_fetch in config.toml")
        .into());
    }
    if contact.scheme == Scheme::File {
        let stores = beside(&contact.folder()?);
        return from_folder(&stores, wanted, keep);
    }
    if contact.own.as_ref().is_some_and(super::own::Own::has_own_transfer) {
        return Err(failure("your git configuration has large files transferred by a program of its own")
            .hint("fetch them with it: git lfs pull, in the workspace")
            .into());
    }
    let server = server::find(contact).context("cannot ask for large files")?;
    let client = Client::new(contact, &server)?;
    let mut first = Ok(());
    let silent = AtomicUsize::new(0);
    for part in wanted.chunks(AT_ONCE) {
        let ended = fetch_part(&client, &server, part, keep, &silent);
        note_silence(&ended, &silent);
        first = first.and(ended);
        if silent.load(Ordering::Relaxed) > MOST_SILENT {
            break;
        }
    }
    first
}

/// Counts how often the server did not answer.
fn note_silence<T>(ended: &Result<T>, silent: &AtomicUsize) {
    if ended.as_ref().is_err_and(|error| kind_of(error) == Kind::Unreachable) {
        silent.fetch_add(1, Ordering::Relaxed);
    }
}

fn fetch_part(
    client: &Client<'_>,
    server: &server::Server,
    part: &[&Pointer],
    keep: Keep<'_>,
    silent: &AtomicUsize,
) -> Result<()> {
    let mut url = server.url.clone();
    url.set_path(&format!("{}/objects/batch", url.path().trim_end_matches('/')));
    let mut request = Request::new(Method::POST, url);
    for name in [ACCEPT, CONTENT_TYPE] {
        request.headers_mut().insert(name, HeaderValue::from_static(MEDIA_TYPE));
    }
    *request.body_mut() = Some(batch::question(part)?.into());
    let secure = server.url.scheme() == "https";
    let answer = client.small(client.send(request, &server.headers, secure)?, MAX_ANSWER)?;
    let places = batch::read(&answer, part)?;
    let (next, first) = (AtomicUsize::new(0), Mutex::new(Ok(())));
    std::thread::scope(|scope| {
        let lane = || {
            while let Some((pointer, place)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                part.get(at).zip(places.get(at)).filter(|_| silent.load(Ordering::Relaxed) <= MOST_SILENT)
            } {
                let ended = match place {
                    Ok(place) => one(client, pointer, place, secure, keep),
                    Err(why) => Err(anyhow::anyhow!("{why:#}")),
                };
                note_silence(&ended, silent);
                if let (Err(error), Ok(mut first)) = (ended, first.lock())
                    && first.is_ok()
                {
                    *first = Err(error);
                }
            }
        };
        let lanes: Vec<_> = (0..LANES.min(part.len())).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| of_thread(lane.join(), "a thread that fetches large files"))
    })?;
    first.into_inner().unwrap_or(Ok(()))
}

fn one(client: &Client<'_>, pointer: &Pointer, place: &batch::LfsPlace, secure: bool, keep: Keep<'_>) -> Result<()> {
    // Put together by hand: a builder takes a name out of the address, and sends it.
    let request = Request::new(Method::GET, place.url.clone());
    let response = client.send(request, &place.headers, secure)?;
    keep(pointer, &mut client.body(response))
}

/// Where a repository of this machine keeps its contents.
fn beside(folder: &Path) -> Vec<Contents> {
    let dotted = folder.with_file_name(format!("{}.git", folder.file_name().unwrap_or_default().to_string_lossy()));
    [folder, &dotted].into_iter().find_map(git_folder).map(|found| Contents::of(&found)).into_iter().collect()
}

/// The git folder of a repository, or the one that a worktree shares. Git's library
/// would read its configuration, which may have no end.
fn git_folder(place: &Path) -> Option<PathBuf> {
    let named = |file: PathBuf| String::from_utf8(disk::read_file(&file, MAX_NAMED).ok()??).ok();
    let (inner, to) = (place.join(".git"), |text: String| text.trim_end_matches('\n').to_owned());
    let own = match inner.is_dir() {
        true => inner,
        false => match named(inner).and_then(|text| text.strip_prefix("gitdir: ").map(str::to_owned)) {
            Some(text) => place.join(to(text)),
            None => place.to_owned(),
        },
    };
    let shared = named(own.join("commondir")).map(|text| own.join(to(text))).unwrap_or(own);
    (shared.join("HEAD").is_file() && shared.join("objects").is_dir()).then_some(shared)
}

fn from_folder(stores: &[Contents], wanted: &[&Pointer], keep: Keep<'_>) -> Result<()> {
    let mut lacking = 0;
    for pointer in wanted {
        let found: Option<Verified<std::fs::File>> = stores.iter().find_map(|store| store.open(pointer).ok().flatten());
        let kept = found.map(|mut content| keep(pointer, &mut content));
        lacking += usize::from(!matches!(kept, Some(Ok(()))));
    }
    if lacking == 0 { Ok(()) } else { Err(failure("the repository's folder lacks them").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_contents_lie_is_found_without_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let main = git2::Repository::init(at("main")).unwrap();
        git2::Repository::init_bare(at("bare.git")).unwrap();
        let who = git2::Signature::now("x", "x@example.org").unwrap();
        let tree = main.find_tree(main.treebuilder(None).unwrap().write().unwrap()).unwrap();
        main.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap();
        main.worktree("second", &at("second"), None).unwrap();
        for name in ["main/.git/config", "bare.git/config"] {
            std::fs::remove_file(at(name)).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                at(name),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
        }
        let real = |place: Option<PathBuf>| place.map(|place| place.canonicalize().unwrap());
        let own = Some(at("main/.git").canonicalize().unwrap());
        assert_eq!(real(git_folder(&at("main"))), own);
        assert_eq!(real(git_folder(&at("second"))), own);
        assert_eq!(git_folder(&at("bare.git")), Some(at("bare.git")));
        assert_eq!(git_folder(&at("none")), None);
        assert_eq!(beside(&at("bare")).len(), 1);
    }
}
