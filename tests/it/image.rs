//! Images: as they should be, as builders make them, and as attackers do.

mod hostile;
mod layout;
mod shapes;
