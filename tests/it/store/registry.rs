//! Stores and images on registries: a real one, and one that lies.

mod access;
mod faults;
mod lies;
mod requests;
mod roads;
mod told;
