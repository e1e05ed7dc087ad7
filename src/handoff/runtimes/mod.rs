//! The runtimes of tasks: how one is put together ([`start`]), whose the files in it
//! are ([`owners`]), how another terminal joins or changes it ([`mod@running`]), what is
//! watched for while it lasts ([`mod@watch`]), what is said of it ([`mod@tell`]), what runs
//! beside the command ([`mod@services`]) and [`before`] it, which credentials for git it is lent ([`lent`]),
//! and what its [`variables`] are.

mod before;
mod lent;
mod owners;
mod running;
mod services;
mod start;
mod tell;
mod variables;
mod watch;

pub(crate) use before::Preparation;
pub(crate) use owners::{Mapped, holder};
pub use running::{Running, add_ports, exec, extend, ports, remove_ports};
pub(crate) use running::{find, join, only, print_into, running};
pub(crate) use services::{ServiceImages, services};
pub use start::{Extras, RuntimeOptions};
pub(crate) use start::{RuntimeParts, approve, asks, deadline_of_its_own, session, spec, time_of_its_own};
pub(crate) use tell::{
    check_baseline, out_of_memory, outside_in_words, port_in_words, signal_name, tell, tell_end, tell_limits,
    tell_outside, tell_ports, tell_reset, tell_services, tell_unheard,
};
pub use tell::{deadline, listens};
pub(crate) use variables::add as add_variables;
