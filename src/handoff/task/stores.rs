//! Which stores are contacted. Asking a registry gives it the developer's login,
//! so whoever named it matters: the developer by a flag, a variable, their own
//! configuration, or a task that they named or entered; or content, which is a
//! checkout, an identity or a project's file. A registry that content leads to
//! needs the developer's word, once.
//!
//! A store in a folder has no login, but what is published there is read by those
//! who read the folder, and what lies there is taken as tasks: one that a project's
//! file names needs the same word, unless it lies in the project's own checkout.
//!
//! Every store is opened in here, so that nobody can forget to ask.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

use crate::disk;
use crate::error::policy;
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::trust;
use crate::handoff::words::quote;
use crate::identity::StoreRef;
use crate::store::{self, Access, Store};
use crate::ui::Answer;

fn has(set: &Mutex<BTreeSet<String>>, store: &str) -> bool {
    set.lock().is_ok_and(|set| set.contains(store))
}

/// The folders of a store in a folder in which somebody may lay what it says.
fn parts_of(store: &Path) -> [PathBuf; 3] {
    ["", "blobs", "blobs/sha256"].map(|below| store.join(below))
}

impl App {
    /// Opens the store of a task, or the one that is configured.
    ///
    /// # Errors
    /// As [`store::open`]; [`crate::error::Kind::Policy`] for a store that only a
    /// checkout names, without the developer's word.
    pub(crate) fn open(&self, store: &StoreRef, access: Access) -> Result<Box<dyn Store>> {
        if !self.is_named(store)? {
            let why = format!("the store {store} is named by this checkout alone");
            match store {
                StoreRef::Layout(folder) if self.is_in_checkout(folder)? => {}
                _ => self.require(store, &why)?,
            }
        }
        self.connect(store, access)
    }

    /// Opens a store that content leads to, for reading: `what` is there.
    /// Nothing is asked about one on the registry of the store that it is
    /// `beside`.
    ///
    /// # Errors
    /// As [`store::open`] and [`App::settle_led`].
    pub(crate) fn open_led(&self, store: &StoreRef, beside: Option<&StoreRef>, what: &str) -> Result<Box<dyn Store>> {
        self.settle_led(store, beside, what)?;
        self.connect(store, Access::Read)
    }

    /// Makes sure that such a store may be opened; contacts nobody. Before
    /// several threads begin: a question is asked alone.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] for a registry that the developer did not
    /// agree to.
    pub(crate) fn settle_led(&self, store: &StoreRef, beside: Option<&StoreRef>, what: &str) -> Result<()> {
        if self.is_open(store, beside)? { Ok(()) } else { self.require(store, &format!("{what} is in {store}")) }
    }

    /// Makes sure that the developer agrees to a store.
    fn require(&self, store: &StoreRef, why: &str) -> Result<()> {
        match store {
            StoreRef::Layout(folder) => require_folder(self, folder, why),
            StoreRef::Registry(_) if self.options.offline => Ok(()),
            StoreRef::Registry(name) => require_registry(self, &host_of(name), why),
        }
    }

    /// Whether such a store can be opened without a question.
    ///
    /// # Errors
    /// When the approvals cannot be read.
    pub(crate) fn is_open(&self, store: &StoreRef, beside: Option<&StoreRef>) -> Result<bool> {
        let text = store.to_string();
        if beside == Some(store) || has(&self.contacts.agreed, &text) || has(&self.contacts.named, &text) {
            return Ok(true);
        }
        match (store, beside) {
            (StoreRef::Registry(name), Some(StoreRef::Registry(known))) if host_of(name) == host_of(known) => Ok(true),
            (StoreRef::Registry(name), _) => is_approved(self, &host_of(name)),
            (StoreRef::Layout(folder), _) => Ok(self.is_named(store)? || is_approved_folder(self, folder)?),
        }
    }

    /// Whether the developer named exactly this store, now or for a task that is here.
    fn is_named(&self, store: &StoreRef) -> Result<bool> {
        let text = store.to_string();
        Ok(self.is_said(store)
            || *store == StoreRef::Layout(self.paths.local_images())
            || has(&self.contacts.agreed, &text)
            || self.pins().all()?.iter().any(|pin| pin.store == text))
    }

    /// Whether they say it now: by this command, its environment or their configuration.
    fn is_said(&self, store: &StoreRef) -> bool {
        let is_it = |named: Option<StoreRef>, from: &Path| named.is_some_and(|named| named.placed(from) == *store);
        let parsed = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        is_it(self.options.store.clone(), &self.cwd)
            || is_it(parsed(&self.env.store), &self.cwd)
            || is_it(parsed(&self.user.store), self.env.home.as_deref().unwrap_or(Path::new("/")))
            || has(&self.contacts.named, &store.to_string())
    }

    /// Whether people whom the developer did not choose may say what the tasks of a
    /// store are: on a registry, and in a folder that belongs to others, came with a
    /// checkout, or that only one names.
    ///
    /// # Errors
    /// When the approvals cannot be read.
    pub(crate) fn is_strange(&self, store: &StoreRef) -> Result<bool> {
        let StoreRef::Layout(folder) = store else { return Ok(true) };
        if parts_of(folder).iter().any(|part| disk::is_of_others(part)) {
            return Ok(true);
        }
        if self.is_said(store) {
            return Ok(false);
        }
        let is_laid = folder.ancestors().any(|folder| folder.join(".git").exists());
        Ok(is_laid || !self.is_named(store)? || is_approved_folder(self, folder)?)
    }

    /// Whether a folder lies in the checkout of the working directory, through no link:
    /// the developer's own, where no code inside has been.
    fn is_in_checkout(&self, folder: &Path) -> Result<bool> {
        let Some(root) = self.checkout() else { return Ok(false) };
        let kept = std::fs::canonicalize(self.paths.data()).is_ok_and(|data| root.starts_with(data));
        Ok(!kept && disk::is_straight(&root, folder) && self.pins().of_workspace(&root)?.is_none())
    }

    fn connect(&self, store: &StoreRef, access: Access) -> Result<Box<dyn Store>> {
        if let StoreRef::Layout(folder) = store {
            self.tell_who_writes(folder);
        }
        store::open(store, access, &self.network())
    }

    /// A store may be shared; whoever may write to it chooses what its tasks
    /// are. Said once.
    fn tell_who_writes(&self, folder: &Path) {
        let is_new = self.contacts.told.lock().is_ok_and(|mut told| told.insert(folder.to_owned()));
        if is_new && let Some(who) = parts_of(folder).iter().find_map(|folder| disk::others_may_write(folder)) {
            self.ui.status("Note", &format!("others can write to the store oci:{}: {who}", folder.display()));
        }
    }
}

/// The registry of a repository, as it is approved: `host[:port]`.
fn host_of(name: &str) -> String {
    name.split('/').next().unwrap_or_default().to_ascii_lowercase()
}

/// A folder is approved by its real path.
fn is_approved_folder(app: &App, folder: &Path) -> Result<bool> {
    let Ok(real) = disk::real_place(folder) else { return Ok(false) };
    let name = StoreRef::Layout(real).to_string();
    Ok(trust::approvals(app)?.host.iter().any(|known| known.name == name))
}

/// Makes sure that a store in a folder may be used.
fn require_folder(app: &App, folder: &Path, why: &str) -> Result<()> {
    if is_approved_folder(app, folder)? {
        return Ok(());
    }
    let real = disk::real_place(folder).with_context(|| format!("{why}, and cannot be found"))?;
    let place = real.display();
    let name = StoreRef::Layout(real.clone()).to_string();
    if app.options.interactive {
        let who = format!("{why}; it is the folder {place}, which you have not approved yet");
        let question = "Read tasks from there and write to it, now and later?";
        if app.ui.agree(Some(&who), &[], question)? == Answer::Yes {
            return trust::approve_host(app, &name);
        }
    }
    Err(policy(format!("{why}, and the folder {place} is not approved, so it was not used"))
        .hint(format!("if you trust it: envctl approve --host {}, or name it yourself: --store", quote(&name)))
        .into())
}

/// A registry is approved as `oci://host[:port]`, or by the bare name, which is
/// for everything there. What was agreed to for repositories is for them alone.
fn is_approved(app: &App, host: &str) -> Result<bool> {
    let is_it = |name: &str| name.strip_prefix("oci://").unwrap_or(name).eq_ignore_ascii_case(host);
    Ok(trust::approvals(app)?.host.iter().any(|known| is_it(&known.name)))
}

/// Makes sure that a registry may be asked, with the developer's login.
fn require_registry(app: &App, host: &str, why: &str) -> Result<()> {
    if is_approved(app, host)? {
        return Ok(());
    }
    if app.options.interactive {
        let who = format!("{why}; you have not approved the registry {host} yet");
        let question = "Contact it, now and later, with your own credentials for it?";
        if app.ui.agree(Some(&who), &[], question)? == Answer::Yes {
            return trust::approve_host(app, &format!("oci://{host}"));
        }
    }
    Err(policy(format!("{why}, and the registry {host} is not approved, so it was not contacted"))
        .hint(format!("if you trust it: envctl approve --host {}", quote(&format!("oci://{host}"))))
        .into())
}
