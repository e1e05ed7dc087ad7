//! What strangers lay and say, and where they try to lead a developer.

#[path = "strangers/folders.rs"]
mod folders;
#[path = "strangers/hosts.rs"]
mod hosts;
#[path = "strangers/layouts.rs"]
mod layouts;
#[path = "strangers/roads.rs"]
mod roads;
