//! Which of this host's own packets a policy spares, as it is remembered of a hook.

use qos_common::policy::Local;
use serde::{Deserialize, Serialize};

/// [`Local`], as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the same as Local")]
pub enum LocalWord {
    Policy,
    KeepControl,
    Keep,
}

impl LocalWord {
    /// The word of the policy file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::KeepControl => "keep-control",
            Self::Keep => "keep",
        }
    }
}

impl From<LocalWord> for Local {
    fn from(word: LocalWord) -> Self {
        match word {
            LocalWord::Policy => Self::Policy,
            LocalWord::KeepControl => Self::KeepControl,
            LocalWord::Keep => Self::Keep,
        }
    }
}

impl From<Local> for LocalWord {
    fn from(local: Local) -> Self {
        match local {
            Local::Policy => Self::Policy,
            Local::KeepControl => Self::KeepControl,
            Local::Keep => Self::Keep,
        }
    }
}
