//! What touches the kernel: load, attach, pin, read. The only place that says `aya::`.
