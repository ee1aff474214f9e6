//! Something that is missing.

use std::{fmt, process::Command};

/// What is missing, what it is for, and how it comes here.
pub struct Need {
    /// Its name.
    pub what: String,
    /// What it is for.
    pub why: &'static str,
    /// How it comes here.
    pub cure: Cure,
}

/// How something comes here.
pub enum Cure {
    /// A package of Debian and Ubuntu, which root installs.
    Package(String),
    /// A command that any user may run.
    Command(Box<dyn Fn() -> Command>),
    /// By what the user decides; the advice.
    ByHand(String),
}

impl Need {
    /// A program or library that is the package of the same name.
    pub fn package(&self) -> Option<&str> {
        match &self.cure {
            Cure::Package(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}
