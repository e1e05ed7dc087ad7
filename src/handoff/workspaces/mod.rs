//! The workspaces of this machine: where each lies, who is in it, and how it goes.
//!
//! [`location`] settles the place, and has its locks. [`retention`] says what deletes
//! a workspace and when, [`branches`] what became of its branch, and [`mod@sweep`] carries
//! that out; [`swept`](mod@swept) remembers what went. Whatever goes is looked at first ([`mod@unsaved`]), and store and
//! remote are asked what they have of it ([`elsewhere`]): what is nowhere else is
//! kept as a [`salvage`] for as long as `workspace.keep` says (`config::user`), and comes back from it.
//! [`by_hand`] is for one that the developer names; [`folders`] for what lies around.

mod branches;
mod by_hand;
mod elsewhere;
mod folders;
mod location;
mod retention;
mod salvage;
mod sweep;
mod swept;
mod unsaved;

pub use by_hand::{Gone, Leaving, keep_workspace, leaving, take_away, task_here, workspace_path};
pub(crate) use elsewhere::Inquiry;
pub(crate) use folders::{DAY, children, homes, is_older, remove_anyhow, set_time, written_at};
pub(crate) use location::{Locks, Place, lock, occupy, vacate};
pub use retention::{WorkspaceRow, workspaces};
pub use salvage::{Recovered, SalvageRow, recover, salvages};
pub(crate) use salvage::{
    Salvage, begin as begin_salvage, expire as expire_salvages, of_task as salvages_of, reap as empty_trash,
    renew as renew_salvages, retire, retire_fresh,
};
pub(crate) use sweep::workspaces as sweep;
pub use sweep::{KeptWorkspace, Removed};
pub use swept::{Swept, swept};
pub(crate) use swept::{note as note_swept, tell as tell_swept};
pub(crate) use unsaved::{capture, changed};
