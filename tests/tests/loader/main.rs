//! Attaching and detaching, and everything that can be in the way: other people's programs, stale pins, devices that go,
//! processes that are killed. Needs root, iproute2 and util-linux.

mod absent;
mod again;
mod apply;
mod clear;
mod device;
mod foreground;
mod foreign;
mod ghosts;
mod hurry;
mod killed;
mod mount;
mod numbered;
mod privilege;
mod stale;
mod under_traffic;
mod unpinned;
