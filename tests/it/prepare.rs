//! What is found before anything is fetched.

mod offline;
