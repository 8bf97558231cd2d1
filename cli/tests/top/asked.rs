//! `plimsoll unused` and `plimsoll report` ask a real collector.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use plimsoll_proto::v1;
use plimsoll_sbom::Sha256;
use serde_json::{Value, json};

use crate::{
    THEN,
    harness::{Harness, batch, deny},
    plimsoll, url,
};

/// An image with two programs that its SBOM lists.
fn image(directory: &Path) {
    let mut files = Vec::new();
    for name in ["used", "other"] {
        let content = [b"\x7fELF".as_slice(), name.as_bytes(), &[0; 64]].concat();
        let path = directory.join("rootfs/usr/bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let checksum = json!({"algorithm": "SHA256", "checksumValue": Sha256::of(&content).hex()});
        files.push(json!({"fileName": format!("./usr/bin/{name}"), "SPDXID": format!("SPDXRef-{name}"), "checksums": [checksum]}));
    }
    let sbom = json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "image", "dataLicense": "CC0-1.0",
        "documentNamespace": "https://sbom.example/image", "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: test"]},
        "packages": [], "files": files,
    });
    fs::write(directory.join("sbom.json"), sbom.to_string()).unwrap();
}

fn executed(sequence: u64, time: u64, path: &str) -> v1::Event {
    let mut event = deny(sequence, time, path);
    (event.verdict, event.reason) = (v1::Verdict::Allow.into(), v1::Reason::Listed.into());
    let file = event.file.as_mut().unwrap();
    file.path_raw.clear();
    file.origin = v1::Origin::ImageFile.into();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ran_is_known_only_if_nothing_is_missing() {
    let harness = Harness::start().await;
    let directory = tempfile::tempdir().unwrap();
    image(directory.path());
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (collector, rootfs, sbom) = (url(&harness), path("rootfs"), path("sbom.json"));
    let since = THEN.to_string();
    let ask = [
        "unused",
        "--collector",
        &collector,
        "--rootfs",
        &rootfs,
        "--sbom",
        &sbom,
        "--image",
        "shop/web:1",
        "--json",
        "--since",
        &since,
    ];
    let uses = |text: &str| {
        let usage: Value = serde_json::from_str(text).unwrap();
        let files = usage["files"].as_array().unwrap();
        let found =
            files.iter().map(|file| format!("{} {}", file["path"].as_str().unwrap(), file["use"].as_str().unwrap()));
        (
            usage["answer"].as_str().unwrap().to_owned(),
            found.collect::<Vec<_>>().join(", "),
            usage["because"].to_string(),
        )
    };
    let mut stream = harness.stream().await;
    stream.send(batch("node-1", [deny(1, THEN + 1, "/tmp/x")])).await.unwrap();
    let (code, text, errors) = plimsoll(&ask).await;
    let unknown = uses(&text);
    assert_eq!((code, errors.as_str(), unknown.0.as_str()), (1, "", "unknown"), "{text}");
    assert_eq!(unknown.1, "/usr/bin/other unknown, /usr/bin/used unknown");

    stream.send(batch("node-1", [executed(2, THEN + 2, "/usr/bin/used")])).await.unwrap();
    let (code, text, _) = plimsoll(&ask).await;
    let young = uses(&text);
    assert_eq!((code, young.0.as_str()), (1, "incomplete"), "{text}");
    assert!(young.2.contains("no event is older than 2026-01-01"), "{}", young.2);

    stream.send(batch("node-1", [executed(3, THEN - 10, "/usr/bin/other")])).await.unwrap();
    // As of an hour after the events, long before the node was really heard of.
    let until = (THEN + 3600).to_string();
    let (code, text, _) = plimsoll(&[&ask[..], &["--until", &until]].concat()).await;
    let whole = uses(&text);
    assert_eq!((code, whole.0.as_str()), (0, "complete"), "{text}");
    assert_eq!(whole.1, "/usr/bin/other never, /usr/bin/used executed");

    // A number that is skipped may have been an execution.
    stream.send(batch("node-1", [executed(9, THEN + 20, "/usr/bin/used")])).await.unwrap();
    let (code, text, _) = plimsoll(&[&ask[..], &["--until", &until]].concat()).await;
    let holes = uses(&text);
    assert_eq!((code, holes.0.as_str()), (1, "incomplete"), "{text}");
    assert!(
        holes.1.starts_with("/usr/bin/other not-seen") && holes.2.contains("5 events were sent and never came"),
        "{text}"
    );

    let policy = path("policy.yaml");
    fs::write(
        &policy,
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: shop}\nspec: {selector: {namespace: \
         shop}, mode: Enforce}\n",
    )
    .unwrap();
    let output = path("pack");
    let ask = ["report", "--collector", &collector, "--policy", &policy, "--output", &output, "--since", &since];
    let (code, text, errors) = plimsoll(&[&ask[..], &["--until", &until]].concat()).await;
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    let index = fs::read_to_string(Path::new(&output).join("index.md")).unwrap();
    assert!(index.contains("| allow | listed | exec | 2 |") && index.contains("5 events were sent"), "{index}");
    harness.stop().await;
}
