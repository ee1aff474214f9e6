//! `policy explain` and the tests of a policy: what they say is what happens, and what fails stops a change.

mod bench;
mod gate;
mod hooks;
mod session;
mod words;
