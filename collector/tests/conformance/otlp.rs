//! A receiver of OpenTelemetry's protocol that others wrote, Rotel, prints the records that it took.

use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    harness::{Harness, batch, deny, within},
    tool,
};

const WHERE: &str = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A port that was free a moment ago: Rotel does not say which one it took.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn rotel_takes_records_over_grpc_and_http() {
    let directory = tempfile::tempdir().unwrap();
    let (grpc, http, printed) = (port(), port(), directory.path().join("printed"));
    let program = tool("python3").args(["-c", WHERE]).output().unwrap();
    let program = String::from_utf8(program.stdout).unwrap();
    let mut rotel = Command::new(program.trim());
    rotel.args(["start", "--exporter", "blackhole", "--debug-log", "logs", "--debug-log-verbosity", "detailed"]);
    rotel.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")]);
    rotel.args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")]);
    let file = File::create(&printed).unwrap();
    rotel.stdout(file.try_clone().unwrap()).stderr(file).env("NO_COLOR", "1").current_dir(directory.path());
    let _rotel = Ended(rotel.spawn().unwrap());
    let harness = Harness::start_with(move |config| {
        for (name, port, protocol) in [("grpc", grpc, "grpc"), ("http", http, "http")] {
            let text = format!(
                "{{ otlp: {{ endpoint: 'http://127.0.0.1:{port}', protocol: {protocol} }},
                    retry: {{ initial: 50ms, max: 500ms }} }}"
            );
            config.outputs.insert(name.to_owned(), serde_yaml::from_str(&text).unwrap());
        }
    })
    .await;
    harness.stream().await.send(batch("node-1", [deny(1, 1_700_000_000, "/opt/seen-by-rotel")])).await.unwrap();
    // Once for each way; a record shows its path in its body and in `file.path`.
    let text = || fs::read_to_string(&printed).unwrap();
    within(async {
        while text().matches("/opt/seen-by-rotel").count() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(text().contains("plimsoll.reason") && text().contains("node-1"), "{}", text());
    for output in harness.get("/v1/outputs").await.1["outputs"].as_array().unwrap() {
        assert_eq!(output["dead_letters"], 0, "{output}");
    }
    harness.stop().await;
}
