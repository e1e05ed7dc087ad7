//! Stores: folders and registries, with many who write.

mod registry;
mod writers;
