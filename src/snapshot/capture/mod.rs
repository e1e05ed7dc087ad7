//! Taking a snapshot: a draft that can be looked at, the settings that travel, and the
//! proof that it comes back as it was.

pub(super) mod draft;
pub(super) mod pipeline;
pub(super) mod prove;
pub(super) mod settings;
