//! What tcpdump sees at the far end.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::router::{spawn_in, words};
use anyhow::{Context as _, bail};
use qosbpf::lab::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(60);

/// A tcpdump that ends by itself when it has seen enough.
pub struct Tcpdump {
    child: Child,
    stdout: ChildStdout,
}

impl Tcpdump {
    /// Begins; what arrives from now on is seen.
    ///
    /// # Errors
    ///
    /// That tcpdump is not there, or does not take the filter.
    pub fn start(namespace: &Namespace, device: &str, packets: u32, filter: &str) -> anyhow::Result<Self> {
        // In this mode a slot of its buffer is as long as a packet may be, and the usual 2 MiB are 32 of them.
        let line = format!("tcpdump -vv -n -t --immediate-mode -B 32768 -Q in -i {device} -c {packets}");
        let mut command = words(&line);
        command.arg(filter).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn_in(namespace, &mut command)?;
        let stdout = child.stdout.take().context("stdout")?;
        let mut stderr = BufReader::new(child.stderr.take().context("stderr")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            if stderr.read_line(&mut line)? == 0 {
                bail!("tcpdump has ended before it listened");
            }
        }
        // What it says at the end must not find the pipe closed.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Ok(Self { child, stdout })
    }

    /// What it printed of each packet, one line a packet.
    ///
    /// # Errors
    ///
    /// That its output cannot be read.
    pub fn packets(mut self) -> anyhow::Result<Vec<String>> {
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                self.child.kill()?;
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        // The second line of a packet begins with a space; what it thinks of the payload may follow.
        let lines = text.replace("\n ", " ");
        Ok(lines.lines().filter(|line| line.starts_with("IP")).map(str::to_owned).collect())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
