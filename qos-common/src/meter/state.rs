//! The state of a meter, and how it is shared by all CPUs.

/// The time at which a bucket is full, as a word that others may change at any moment.
pub trait Word {
    /// Replaces the word by what `next` makes of it, as one step: whoever else changes the word does so before or after.
    /// `false`, and no change, if `next` has nothing.
    fn update(&mut self, next: impl Fn(u64) -> Option<u64>) -> bool;
}

/// A word that nobody else touches: under a lock, or in a test.
impl Word for u64 {
    #[inline(always)]
    fn update(&mut self, next: impl Fn(u64) -> Option<u64>) -> bool {
        match next(*self) {
            Some(value) => {
                *self = value;
                true
            }
            None => false,
        }
    }
}

/// Both buckets of a meter, in the time of each. Zero, as the kernel makes them, is full: see [`Buckets::FULL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Buckets {
    /// When C is full.
    pub committed: u64,
    /// When P or E is full.
    pub other: u64,
}

impl Buckets {
    /// Full since the clock began.
    pub const FULL: Self = Self { committed: 0, other: 0 };
}
