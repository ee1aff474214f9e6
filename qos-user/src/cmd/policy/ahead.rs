//! Programs that were prepared, and wait while somebody else changes something: whoever prepares many gives way. They are of
//! use afterwards at every hook that was left as it was.

use crate::{
    cmd::{conditioner, site::Site},
    kernel::{
        datapath::{Hook, Prepared},
        pins::Pin,
        state::Binding,
    },
};

/// The programs.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The interfaces for which they were compiled.
    interfaces: Vec<(u32, String)>,
    /// Each with what tells the state of its hook from later ones.
    programs: Vec<(u64, Prepared)>,
}

impl Ahead {
    /// Forgets what was compiled for other interfaces than those that are there.
    pub fn heed(&mut self, site: &Site) {
        let interfaces = conditioner::numbered(&site.interfaces);
        if self.interfaces != interfaces {
            *self = Self { interfaces, programs: Vec::new() };
        }
    }

    /// Takes in programs of hooks as they are now. Needs the lock.
    pub fn keep(&mut self, programs: impl IntoIterator<Item = Prepared>) {
        let seen = |program: Prepared| Some((program.hook().pins.inode(Pin::State)?, program));
        self.programs.extend(programs.into_iter().filter_map(seen));
    }

    /// The program by which a hook does what is wanted of it now, if there is one. Needs the lock.
    pub fn take(&mut self, hook: &Hook, binding: Option<&Binding>) -> Option<Prepared> {
        let state = hook.pins.inode(Pin::State)?;
        let is_it =
            |program: &mut Prepared| program.hook().pins == hook.pins && program.next().binding.as_ref() == binding;
        let at = self.programs.iter_mut().position(|(seen, program)| *seen == state && is_it(program))?;
        Some(self.programs.swap_remove(at).1)
    }
}
