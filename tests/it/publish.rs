//! What is handed over beside a checkout.

mod brought;
mod built;
