//! What runs cost, and what they may.

mod costs;
