//! Decisions that a program logs, as lines on stdout.

use aya_log::EbpfLogger;

/// The log of one hook's program.
pub struct DecisionLog {
    logger: EbpfLogger<Lines>,
}

/// Prints each record as a line, with the hook before it.
#[derive(Debug)]
struct Lines {
    hook: String,
}

impl DecisionLog {
    /// Opens the log of a program.
    ///
    /// # Errors
    ///
    /// That the program has none.
    pub fn open(program_id: u32, hook: &str) -> anyhow::Result<Self> {
        let logger = EbpfLogger::init_from_id_with_logger(program_id, Lines { hook: hook.to_owned() })?;
        Ok(Self { logger })
    }

    /// Prints what has come.
    pub fn flush(&mut self) {
        self.logger.flush();
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        use std::io::Write as _;
        let _closed = writeln!(std::io::stdout().lock(), "{}  {}", self.hook, record.args());
    }

    fn flush(&self) {}
}
