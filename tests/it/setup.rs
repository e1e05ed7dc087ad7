//! A new project, and a new machine.

mod first_steps;
