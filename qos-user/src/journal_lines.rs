//! Log lines as systemd's journal likes them on stderr: each begins with its priority, `<4>` (sd-daemon(3)), also those
//! of one message in several lines.

use std::{borrow::Cow, env, fmt, io::stderr};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Another format, with priorities.
#[derive(Clone, Debug)]
pub struct JournalLines<F>(pub F);

/// Whether stderr is a stream of the journal: `JOURNAL_STREAM` has its device and inode.
#[must_use]
pub fn is_wanted() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(file) = nix::sys::stat::fstat(stderr()) else { return false };
    stream == format!("{}:{}", file.st_dev, file.st_ino)
}

/// What is said on stderr beside the log: where the journal reads it, with the priority of this level.
#[must_use]
pub fn beside_the_log(text: &str, level: Level) -> Cow<'_, str> {
    if is_wanted() { Cow::Owned(prioritized(text, level)) } else { Cow::Borrowed(text) }
}

fn prioritized(text: &str, level: Level) -> String {
    let priority = priority(level);
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

impl<S, N, F> FormatEvent<S, N> for JournalLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        writer.write_str(&prioritized(&text, *event.metadata().level()))
    }
}

/// The priorities of syslog(3).
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_has_its_priority() {
        let kept = Kept::default();
        let plain = tracing_subscriber::fmt::format().without_time().with_target(false).with_ansi(false);
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(JournalLines(plain)).with_ansi(false);
        let layer = layer.with_writer(move || writer.clone()).boxed();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!("wrong:\n  line 3");
            tracing::info!(hook = "wan0:egress", "attached");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<3>ERROR wrong:\n<3>  line 3\n<6> INFO attached hook=\"wan0:egress\"\n");
    }
}
