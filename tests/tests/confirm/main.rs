//! Policies that are taken back: unless confirmed, by hand, after a kill at any moment; saved ones, and bypasses that end.
//! Needs root, iproute2 and util-linux.

mod attached;
mod broken;
mod bypass;
mod confirm;
mod diff;
mod earlier;
mod edge;
mod history;
mod hits;
mod killed;
mod large;
mod load;
mod saved;
mod session;
mod stopped;
