//! What a figure has to pass: nothing lost, no bad checksum, the job done on every packet, and each one
//! counted by whoever did it.

use anyhow::ensure;
use qos_common::ds::Dscp;

use super::{candidate::Candidate, job::Spec, shot::Shot};

/// Checks a shot.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(shot: &Shot, job: &Spec, candidate: &Candidate) -> anyhow::Result<()> {
    let arrived: u64 = shot.by_dscp.iter().sum();
    ensure!(arrived == shot.sent, "{} packets were sent, and {arrived} arrived", shot.sent);
    ensure!(shot.bad_checksum == 0, "{} packets arrived with a bad header checksum", shot.bad_checksum);
    let wanted = expected(shot.sent, job, candidate.marks());
    ensure!(shot.by_dscp == wanted, "the marks are not those of the job: {:?}", shot.by_dscp);
    Ok(())
}

/// Checks what a candidate has counted in its turn; who marks nothing counts nothing.
///
/// # Errors
///
/// That it is not what was sent.
pub fn counted(sent: u64, counted: Option<u64>) -> anyhow::Result<()> {
    let counted = counted.unwrap_or(sent);
    ensure!(counted == sent, "{sent} packets were sent in its turn, and it has counted {counted}");
    Ok(())
}

/// How many packets have to arrive by codepoint.
fn expected(sent: u64, job: &Spec, marked: bool) -> [u64; Dscp::COUNT] {
    let mut wanted = [0; Dscp::COUNT];
    let table = job.table();
    let sources: Vec<Dscp> = if job.cycle { Dscp::all().collect() } else { vec![Dscp::DF] };
    for from in &sources {
        let to = if marked { table.get(*from) } else { *from };
        wanted[to.index()] += sent / sources.len() as u64;
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::job::JOBS;

    fn shot(by_dscp: [u64; 64]) -> Shot {
        Shot { sent: 64, by_dscp, bad_checksum: 0, cpu_ns: 1.0 }
    }

    #[test]
    fn who_counts_has_to_count_what_was_sent() {
        assert!(counted(64, Some(64)).is_ok() && counted(64, None).is_ok());
        assert!(counted(64, Some(63)).is_err() && counted(64, Some(65)).is_err() && counted(64, Some(0)).is_err());
    }

    #[test]
    fn a_shot_passes_only_with_the_job_done() {
        let (table, value) = (&JOBS[0], &JOBS[2]);
        let unmarked = shot([1; 64]);
        assert!(check(&unmarked, table, &Candidate::Nothing).is_ok());
        assert!(check(&unmarked, table, &Candidate::Nft).is_err());
        let mut marked = [0; 64];
        marked[10] = 64;
        assert!(check(&shot(marked), value, &Candidate::Nft).is_ok());
        marked[10] = 63;
        assert!(check(&shot(marked), value, &Candidate::Nft).is_err(), "one is lost");
        assert!(check(&Shot { bad_checksum: 1, ..unmarked }, table, &Candidate::Nothing).is_err());
    }
}
