//! Runtimes of this machine: what goes before a command, joined and left running, their
//! ports, their end, and what becomes of those that were killed.

mod crash;
mod detached;
mod joined;
mod ports;
mod prepared;
mod reset;
mod together;
