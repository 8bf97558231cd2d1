//! Every kind of event against the schema that OCSF publishes, as the package `ocsf-json-schema` carries it.

use std::{collections::BTreeSet, fs};

use plimsoll_proto::v1;
use serde_json::Value;

use crate::{
    harness::{Harness, batch, deny, within},
    tool,
};

/// Prints the schema of each class as JSON Schema, with the profiles that events name.
const SCHEMAS: &str = "
import json
from ocsf_json_schema import get_ocsf_schema, OcsfJsonSchemaEmbedded
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version='1.8.0'))
classes = {}
for uid in [1001, 1004, 1005, 1007, 2004, 4001]:
    name = schema.lookup_class_name_from_uid(class_uid=uid)
    classes[uid] = schema.get_class_schema(class_name=name, profiles=['container', 'host', 'security_control'])
print(json.dumps(classes))
";

fn schemas() -> Value {
    let output = tool("python3").args(["-c", SCHEMAS]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each hook with each verdict, with everything known and with as little as there may be.
fn events() -> Vec<v1::Event> {
    let mut events = Vec::new();
    for hook in (1..=255).filter(|number| v1::Hook::try_from(*number).is_ok()) {
        for verdict in [v1::Verdict::Allow, v1::Verdict::Audit, v1::Verdict::Deny] {
            let mut full = deny(0, 1_700_000_000, "/tmp/a\n\"\u{fc}");
            full.file.as_mut().unwrap().sha256 = format!("sha256:{}", "ab".repeat(32));
            if (30..50).contains(&hook) {
                full.network =
                    Some(v1::Network { address: "2001:db8::1".to_owned(), port: 443, protocol: "tcp".to_owned() });
            }
            for mut event in [full, v1::Event { time_unix_ns: 1, ..Default::default() }] {
                event.sequence = events.len() as u64 + 1;
                event.hook = hook;
                event.verdict = verdict.into();
                event.reason = v1::Reason::NotListed.into();
                events.push(event);
            }
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_follows_the_published_schema() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let kind = format!("ocsf: {{ file: '{}' }}", file.display());
    let harness = Harness::start_with(move |config| {
        config.outputs.insert("file".to_owned(), serde_yaml::from_str(&kind).unwrap());
    })
    .await;
    let events = events();
    let count = events.len();
    harness.stream().await.send(batch("node-1", events)).await.unwrap();
    within(async { while harness.get("/v1/outputs").await.1["outputs"][0]["delivered"] != count {} }).await;
    harness.stop().await;

    let schemas = schemas();
    let (mut wrong, mut classes) = (Vec::new(), BTreeSet::new());
    for line in fs::read_to_string(&file).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let class = event["class_uid"].to_string();
        let validator = jsonschema::validator_for(&schemas[&class]).unwrap();
        let faults = validator.iter_errors(&event).map(|error| format!("{class} {}: {error}", error.instance_path()));
        wrong.extend(faults);
        classes.insert(class);
    }
    println!("{count} events of classes {classes:?}: {} faults", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(classes.len(), 6);
    // The schema does refuse what is wrong.
    let broken = serde_json::json!({ "class_uid": 1007 });
    assert!(!jsonschema::validator_for(&schemas["1007"]).unwrap().is_valid(&broken));
}
