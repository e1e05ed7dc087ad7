//! Which task is meant, and what it is.
//!
//! A name leads to a store and a task ([`located`]); the store is opened if that is
//! allowed ([`stores`]) and gives the identity ([`mod@resolve`]), unless an earlier
//! `enter` pinned it here ([`pins`]). From then on a [`Resolved`] goes through the
//! house, with the [`source`] from which its parts come. Its repository has a
//! [`mirror`](mod@mirror) here and a way to its remote ([`remotes`]); who else works
//! on it says a claim ([`claims`]), and what was published beside it are its other
//! lines ([`mod@lines`]). What its store was last seen to have is remembered ([`looks`]).

mod claims;
mod exposed;
mod history;
mod lines;
mod located;
mod looks;
mod mirror;
mod pins;
mod remotes;
mod resolve;
mod source;
mod stores;

pub(crate) use claims::{leave as leave_claim, others as other_claims, tell as tell_claims};
pub(crate) use history::History;
pub(crate) use lines::{
    Line, beside, beside_of, forget as forget_line, lines, place as place_line, reaches, tell as tell_lines,
};
pub(crate) use located::Located;
pub(crate) use looks::{Looks, Sight, note as note_looks, note_entered};
pub(crate) use mirror::{mirror, mirror_of};
pub(crate) use pins::{Pin, PublishedHere, State};
pub(crate) use remotes::{Door, manner};
pub(crate) use resolve::{
    Resolved, from_store, read_at, resolve, resolve_here, resolve_left, resolve_published, summary,
};
pub(crate) use source::{Source, Throttle, is_stopped, open_store};
