//! A command that a shell takes as it was meant, whatever the names in it are.

use std::fmt;

use crate::invocation::quoted;

/// Commands in words, each run if the one before it worked. What is known here is written in one text, and only that can
/// be: names of interfaces, paths and handles are words of their own, which the shell gets whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(Vec<Vec<String>>);

impl Command {
    /// A command that begins with these words.
    #[must_use]
    pub fn new(words: &'static str) -> Self {
        Self(vec![Vec::new()]).words(words)
    }

    /// The same with words behind it.
    #[must_use]
    pub fn words(mut self, words: &'static str) -> Self {
        self.last().extend(words.split_whitespace().map(str::to_owned));
        self
    }

    /// The same with one word behind it, whatever is in it.
    #[must_use]
    pub fn word(mut self, word: impl fmt::Display) -> Self {
        self.last().push(word.to_string());
        self
    }

    /// The same with a word that is no option of qosbpf's, even if it begins like one: options have to stand before it.
    #[must_use]
    pub fn operand(self, word: impl fmt::Display) -> Self {
        let word = word.to_string();
        if word.starts_with('-') { self.words("--").word(word) } else { self.word(word) }
    }

    /// One command of the words of both.
    #[must_use]
    pub fn followed_by(self, rest: Self) -> Self {
        rest.0.into_iter().flatten().fold(self, Self::word)
    }

    /// The same, and then another one.
    #[must_use]
    pub fn then(mut self, mut next: Self) -> Self {
        self.0.append(&mut next.0);
        self
    }

    /// The tool that is run first.
    pub(crate) fn program(&self) -> Option<&str> {
        self.0.first()?.first().map(String::as_str)
    }

    /// All of them with these words before each.
    #[must_use]
    pub(crate) fn behind(mut self, lead: &[String]) -> Self {
        for command in &mut self.0 {
            command.splice(0..0, lead.iter().cloned());
        }
        self
    }

    fn last(&mut self) -> &mut Vec<String> {
        if self.0.is_empty() {
            self.0.push(Vec::new());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.0.iter().map(|words| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        out.write_str(&commands.collect::<Vec<_>>().join(" && "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_here_is_more_than_one_word() {
        let command = Command::new("ip link set dev").word("x; reboot").words("mtu 9").then(Command::new("true"));
        assert_eq!(command.to_string(), "ip link set dev 'x; reboot' mtu 9 && true");
        assert_eq!(Command::new("detach").operand("-x:egress").to_string(), "detach -- -x:egress");
    }

    /// Every byte that a name can have, by the shell that there is.
    #[test]
    fn a_shell_takes_each_word_whole() {
        let words: Vec<String> = (1..=255u8).map(|byte| format!("a{}b", char::from(byte))).collect();
        let all = words.iter().fold(Command::new("printf %s\\0"), |command, word| command.word(word));
        let said = std::process::Command::new("sh").args(["-c", &all.to_string()]).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), words.join("\0") + "\0");
    }
}
