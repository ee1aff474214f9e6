//! `/etc/qosbpf/qosbpf.toml` as it is found.

use std::{fs, path::PathBuf, sync::mpsc, thread, time::Duration};

use super::members;
use crate::{
    cmd::Context,
    error::{Exit, Failure},
    kernel::files,
    policy::{
        Report,
        settings::{self, Settings},
    },
};

/// How long a directory service may take to say whether there is a group.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the file says, and what is wrong with it.
#[derive(Debug)]
pub struct Configured {
    /// The settings; what is wrong in the file is as if it were not there.
    pub settings: Settings,
    /// Why the file is not right.
    pub failure: Option<String>,
    /// What was said of it.
    mistakes: Option<Report>,
    /// Whether the file may mean a network namespace that the settings do not name.
    pub netns_unknown: bool,
}

impl Configured {
    /// The same, with whether this host has the group: it is waited for, but not for long.
    pub fn with_group(self, context: &Context) -> Self {
        match &self.settings.group {
            Some(name) if !is_group(name) => read_by(context, |_| false, self.mistakes.as_ref()),
            _ => self,
        }
    }
}

/// Reads it, and says what is wrong with it. A router with a mistake in this file marks all the same.
pub fn read(context: &Context) -> Configured {
    read_by(context, is_group, None)
}

/// The same, without asking for the group: whatever its name, it is taken for one.
pub fn read_at_once(context: &Context) -> Configured {
    read_by(context, |_| true, None)
}

/// The same; what was `said` already is not said again.
fn read_by(context: &Context, is_group: fn(&str) -> bool, said: Option<&Report>) -> Configured {
    let path = path(context);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(_none) if files::is_absent(&path) => Vec::new(),
        Err(error) => {
            let failure = format!("{}: {}", path.display(), files::why_not(&path, &error));
            tracing::error!("settings not read: {failure}; what it says of none holds");
            return Configured {
                settings: Settings::default(),
                failure: Some(failure),
                mistakes: None,
                netns_unknown: true,
            };
        }
    };
    let settings::Read { settings, mistakes, netns_unknown } =
        settings::read(&path.display().to_string(), bytes, is_group);
    let news = match said {
        Some(said) => mistakes.clone().and_then(|report| report.beyond(said)),
        None => mistakes.clone(),
    };
    if let Some(report) = news {
        tracing::error!("settings are wrong, and what is wrong in them is left out:\n{}", report.render(false));
    }
    let failure = mistakes.as_ref().map(|_| format!("{} is wrong", path.display()));
    Configured { settings, failure, mistakes, netns_unknown }
}

/// Where nobody can tell, as long as a directory service does not answer, it is taken for one: it is asked again whenever
/// somebody wants a change.
fn is_group(name: &str) -> bool {
    let (sender, answer) = mpsc::channel();
    let asked = name.to_owned();
    // A directory service that hangs keeps this thread, and nobody else.
    let ask = move || sender.send(members::number_of(&asked));
    let why = match thread::Builder::new().name("group".to_owned()).spawn(ask).map(|_| answer.recv_timeout(PATIENCE)) {
        Ok(Ok(Ok(number))) => return number.is_some(),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => format!("no answer within {}", humantime::format_duration(PATIENCE)),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        "whether this host has the group {name} cannot be said ({why}): whoever asks for a change as its member waits \
         until it can"
    );
    true
}

fn path(context: &Context) -> PathBuf {
    context.etc.join("qosbpf.toml")
}

/// To work in the wrong namespace would be worse than not to work.
pub fn unknown_namespace(context: &Context) -> anyhow::Error {
    let message = format!("{} may name a network namespace, and cannot be read so far", path(context).display());
    Failure::new("settings", message).exit(Exit::Usage).hint("what runs goes on; mend the file, or say --netns").into()
}
