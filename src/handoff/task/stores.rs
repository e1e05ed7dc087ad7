//! Which stores are contacted. Asking a registry gives it the developer's login,
//! so whoever named it matters: the developer by a flag, a variable, their own
//! configuration, or a task that they named or entered; or content, which is a
//! checkout, an identity or a project's file. A registry that content leads to
//! needs the developer's word, once.
//!
//! Every store is opened in here, so that nobody can forget to ask.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;

use crate::disk;
use crate::error::policy;
use crate::handoff::app::App;
use crate::handoff::trust;
use crate::handoff::words::quote;
use crate::identity::StoreRef;
use crate::store::{self, Access, Store};
use crate::ui::Answer;

fn has(set: &Mutex<BTreeSet<String>>, store: &str) -> bool {
    set.lock().is_ok_and(|set| set.contains(store))
}

impl App {
    /// Opens the store of a task, or the one that is configured.
    ///
    /// # Errors
    /// As [`store::open`]; [`crate::error::Kind::Policy`] for a registry that
    /// only a checkout names, without the developer's word.
    pub(crate) fn open(&self, store: &StoreRef, access: Access) -> Result<Box<dyn Store>> {
        if let Some(host) = host_of(store)
            && !self.options.offline
            && !self.is_named(store)?
        {
            require_registry(self, &host, &format!("the store {store} is named by this checkout alone"))?;
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
        match host_of(store) {
            Some(host) if !self.options.offline && !self.is_open(store, beside)? => {
                require_registry(self, &host, &format!("{what} is in {store}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether such a store can be opened without a question.
    ///
    /// # Errors
    /// When the approvals cannot be read.
    pub(crate) fn is_open(&self, store: &StoreRef, beside: Option<&StoreRef>) -> Result<bool> {
        let Some(host) = host_of(store) else { return Ok(true) };
        Ok(beside.and_then(host_of).is_some_and(|known| known == host)
            || has(&self.contacts.agreed, &store.to_string())
            || is_approved(self, &host)?)
    }

    /// Whether the developer named exactly this store.
    fn is_named(&self, store: &StoreRef) -> Result<bool> {
        let text = store.to_string();
        let configured = [self.env.store.as_deref(), self.user.store.as_deref()];
        Ok(self.options.store.as_ref() == Some(store)
            || configured.contains(&Some(&text))
            || has(&self.contacts.named, &text)
            || self.pins().all()?.iter().any(|pin| pin.store == text))
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
        let folders = ["", "blobs", "blobs/sha256"].map(|below| folder.join(below));
        if is_new && let Some(who) = folders.iter().find_map(|folder| disk::others_may_write(folder)) {
            self.ui.status("Note", &format!("others can write to the store oci:{}: {who}", folder.display()));
        }
    }
}

/// The registry of a store, as it is approved: `host[:port]`.
fn host_of(store: &StoreRef) -> Option<String> {
    match store {
        StoreRef::Registry(name) => name.split_once('/').map(|(host, _)| host.to_ascii_lowercase()),
        StoreRef::Layout(_) => None,
    }
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
