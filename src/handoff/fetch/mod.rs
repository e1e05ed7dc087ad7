//! The parts of a task, brought here from its store: layers and documents of the
//! image ([`images`]), and the snapshot ([`snapshots`]). What is here is not fetched
//! again, and what is [`known`] of packed layers is neither packed nor sent again; what a
//! part costs can be asked before ([`part`]).

mod images;
mod known;
mod part;
mod snapshots;

pub(crate) use images::{
    Here, has_image, image_documents, image_here, layers_here, local_image, local_user, may_ask_for_image, of_service,
    pull_image, service_image, settle_image,
};
pub(crate) use known::{held_form, is_held, note_form, note_place};
pub(crate) use part::Part;
pub(crate) use snapshots::{Snapshot, document, snapshot, snapshot_part};
