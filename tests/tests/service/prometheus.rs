//! Prometheus itself scrapes for some seconds: what it has stored is what was counted.

use std::{
    fs,
    process::{Child, Stdio},
};

use anyhow::Context as _;
use qosbpf_tests::{
    binary::Answer,
    router::{spawn_in, words},
};

use qosbpf_tests::service::{Lab, MARK, eventually};

const CONFIGURATION: &str = "global: {scrape_interval: 1s}\n\
    scrape_configs: [{job_name: qosbpf, static_configs: [{targets: ['127.0.0.1:9776']}]}]\n";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn prometheus_stores_what_was_counted() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let folder = lab.router.folder().join("prometheus");
    fs::create_dir(&folder)?;
    fs::write(folder.join("prometheus.yml"), CONFIGURATION)?;
    let place = folder.display();
    let line = format!(
        "prometheus --config.file={place}/prometheus.yml --storage.tsdb.path={place}/data \
         --web.listen-address=127.0.0.1:9090 --log.level=warn"
    );
    let mut command = words(&line);
    let server = spawn_in(lab.router.edge(), command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let _server = Server(server);
    let ask = |query: &str| {
        lab.router.edge().run(|| {
            let url = ["promtool", "query", "instant", "http://127.0.0.1:9090", query];
            let mut command = std::process::Command::new(url[0]);
            Answer::of(command.args(&url[1..])).map(|answer| answer.stdout)
        })
    };
    eventually(|| Ok(ask("up{job=\"qosbpf\"}")?.contains("=> 1 @"))).context("Prometheus says that it is up")?;
    lab.router.ping(false, 184, 7)?;
    let series = "qosbpf_remarked_packets_total{device=\"lan0\",direction=\"ingress\",from=\"EF\",to=\"AF41\"}";
    eventually(|| Ok(ask(series)?.contains("=> 7 @"))).with_context(|| format!("{:?}", ask(series)))?;
    // It saw the step from zero, since the series was there before the first packet.
    let increase = format!("max_over_time({series}[1m]) - min_over_time({series}[1m])");
    assert!(ask(&increase)?.contains("=> 7 @"), "{:?}", ask(&increase));
    assert!(ask("qosbpf_hook_up")?.contains("=> 1 @"));
    Ok(())
}
