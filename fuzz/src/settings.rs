//! Any text as the settings of the service: what is wrong is said, and what is taken can be worked with.

use std::time::Duration;

use qosbpf::policy::settings;

pub fn hold(input: &[u8]) {
    let read = settings::read("qosbpf.toml", input.to_vec(), |group| group.len() % 2 == 0);
    let sample = read.settings.sample;
    assert!((Duration::from_secs(1)..=Duration::from_secs(10)).contains(&sample), "{sample:?}");
    if let Some(report) = read.mistakes {
        assert!(!report.is_empty());
        crate::is_said(&report.render(false));
    }
}
