//! What touches the kernel: load, attach, pin, read. The only place that says `aya::`.

pub mod boottime;
pub mod bpffs;
pub mod choice;
pub mod counters;
pub mod datapath;
pub mod document;
pub mod events;
pub mod jiffies;
pub mod lock;
pub mod logs;
pub mod mechanism;
pub mod netdev;
pub mod netns;
pub mod network;
pub mod object;
pub mod past;
pub mod pending;
mod pin;
pub mod pins;
pub mod privilege;
pub mod route;
pub mod slots;
pub mod socket;
pub mod state;
pub mod sys;
pub mod testrun;
pub mod twin;
