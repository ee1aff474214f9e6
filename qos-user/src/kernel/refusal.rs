//! Why the kernel does not load something.

use super::{privilege, shortage};
use crate::error::Failure;

/// What to say of `what`, which the kernel refused with `error`.
pub fn refused(what: &str, error: anyhow::Error) -> anyhow::Error {
    tracing::debug!("{error:#}");
    if shortage::said(&error).is_some() {
        return shortage::named(what, error);
    }
    let text = format!("{error:#}");
    privilege::missing().unwrap_or_else(|| {
        Failure::new("load", format!("the kernel refused {what}: {}", in_brief(&text)))
            .hint("qosbpf -vv shows the verifier's whole answer")
            .into()
    })
}

/// What the system call said, and the line of the verifier that gives the reason: its last before the statistics.
fn in_brief(answer: &str) -> String {
    let Some((head, log)) = answer.split_once(" Verifier output: ") else {
        return answer.lines().next().unwrap_or_default().to_owned();
    };
    let is_statistics = |line: &&str| line.starts_with("verification time") || line.starts_with("processed ");
    // Where the log is empty, what caused the error follows at once.
    let is_cause = |line: &&str| line.is_empty() || line.starts_with(": ");
    let reason = log.lines().take_while(|line| !is_statistics(line)).filter(|line| !is_cause(line)).last();
    reason.map_or_else(|| head.to_owned(), |reason| format!("{head} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_before_the_statistics() {
        let said = |log: &str| in_brief(&format!("returned EINVAL. Verifier output: {log}: Invalid argument"));
        let statistics = "verification time 56 usec\nstack depth 0\nprocessed 0 insns (limit 1000000)\n";
        assert_eq!(said(""), "returned EINVAL.");
        assert_eq!(said(statistics), "returned EINVAL.");
        assert_eq!(said(&format!("Invalid line_info\n{statistics}")), "returned EINVAL. Invalid line_info");
        assert_eq!(said(&format!("0: (b7) r0 = 1\nR1 !read_ok\n{statistics}")), "returned EINVAL. R1 !read_ok");
        assert_eq!(in_brief("no map\nfor it"), "no map");
    }
}
