//! Log lines on their way to stderr: a command of ours in one has the options without which it would be about something
//! else, whoever wrote the line.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use crate::{held_lines, invocation::Invocation};

/// How commands are typed here, once that is known.
static HERE: OnceLock<Invocation> = OnceLock::new();

/// From now on commands in the log are typed like this.
pub fn are_about(here: Invocation) {
    let _known_already = HERE.set(here);
}

/// In which form lines come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLines {
    /// As people read them.
    Text,
    /// Each a document.
    Json,
}

impl LogLines {
    fn completed(self, line: &str, here: &Invocation) -> String {
        match self {
            Self::Text => here.completed(line),
            Self::Json => here.completed_in_json(line),
        }
    }
}

impl Write for LogLines {
    /// The subscriber hands over each line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let completed = HERE.get().zip(str::from_utf8(line).ok()).map(|(here, text)| self.completed(text, here));
        held_lines::write(completed.as_deref().map_or(line, str::as_bytes))?;
        Ok(line.len())
    }

    /// Nothing waits here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_stays_one() {
        let here = Invocation { netns: None, bpffs: Some("/tmp/\u{7}'b".to_owned()), etc: None };
        let line =
            serde_json::json!({ "message": "To end it: qosbpf detach wan0:egress", "level": "ERROR" }).to_string();
        let completed: serde_json::Value = serde_json::from_str(&LogLines::Json.completed(&line, &here)).unwrap();
        let text = LogLines::Text.completed("To end it: qosbpf detach wan0:egress", &here);
        assert_eq!(completed["message"], text);
        assert!(text.contains("--bpffs"), "{text}");
    }
}
