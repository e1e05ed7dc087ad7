//! What strangers lay and say, and where they try to lead a developer.

mod folders;
mod hosts;
mod layouts;
mod roads;
