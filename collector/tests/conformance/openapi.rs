//! schemathesis asks what the document allows and what it forbids, and looks at every answer.

use crate::{
    harness::{Harness, batch, deny, event},
    tool,
};

/// Requests made up for each operation and phase; with 20 a run takes about 20 seconds.
const EXAMPLES: &str = "20";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let harness = Harness::start_with(move |config| {
        let kind = format!("ocsf: {{ file: '{}' }}", file.display());
        config.outputs.insert("file".to_owned(), serde_yaml::from_str(&kind).unwrap());
    })
    .await;
    let events = (1..=250).map(|n| if n % 2 == 0 { event(n, n * 60) } else { deny(n, n * 60, "/tmp/x") });
    harness.stream().await.send(batch("a", events)).await.unwrap();
    let url = format!("http://{}/openapi.json", harness.server().http_address());
    let mut schemathesis = tool("schemathesis");
    // A fixed seed: what fails here fails again.
    schemathesis.args(["run", &url, "--checks", "all", "--max-examples", EXAMPLES, "--seed", "1", "--no-color"]);
    let output = tokio::task::spawn_blocking(move || schemathesis.current_dir(directory.path()).output()).await;
    let output = output.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("No issues found"), "{}", output.status);
    // All but the document's own address, which schemathesis leaves out.
    let operations = harness.get("/openapi.json").await.1["paths"].as_object().unwrap().len() - 1;
    assert!(text.contains(&format!("Tested: {operations}\n")), "not all of {operations} operations were tested");
    harness.stop().await;
}
