//! What the developer agrees to, and what must not leave this machine.
//!
//! A project asks of the host ([`asks`]: secrets, networks, ports, setups, builds, stores of
//! fixtures, credentials for git, all that one approval covers); the developer agrees to
//! exactly that, once, and to each host by itself ([`mod@approvals`]). Where the values of
//! secrets come from, only they say ([`secrets`]). What is about to be published is
//! searched for credentials first ([`mod@scan`]), and what had to stay behind is named
//! to everybody who gets the rest ([`redacted`]).

mod approvals;
mod asks;
mod redacted;
mod scan;
mod secrets;

pub use approvals::{Approval, Approvals, ApprovedHost, approvals, approve, approve_host, revoke};
pub(crate) use approvals::{Verdict, asked_by, consent, refused, require_host, settle};
pub use asks::{Asks, Setup};
pub(crate) use asks::{Checkout, Origin, Settled, real_path, without_asks};
pub(crate) use redacted::tell_redacted;
pub use scan::Unsearched;
pub(crate) use scan::{
    Screen, Screened, look as scan, scanner, screen_document, screen_words, settle as settle_findings,
};
pub(crate) use secrets::resolve as resolve_secrets;
