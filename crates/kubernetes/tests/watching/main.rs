//! What becomes of everything that an API server says, and of all the ways in which it stops saying it.
#![cfg(test)]

mod policies;
mod server;

use std::sync::Arc;

use plimsoll_kubernetes::{Api, Freshness, Node, OwnNode, Pod, Pods, Provider, follow};
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::server::{Answer, Server, bookmark, event, gone, until};

const PODS: &str = "/api/v1/pods";

fn written(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn pod(uid: &str, version: &str) -> Value {
    let mut pod = written("pod.json");
    pod["metadata"]["uid"] = json!(uid);
    pod["metadata"]["name"] = json!(format!("cart-{uid}"));
    pod["metadata"]["resourceVersion"] = json!(version);
    pod
}

fn list(kind: &str, version: &str, token: &str, items: &[Value]) -> Answer {
    let mut metadata = json!({ "resourceVersion": version });
    if !token.is_empty() {
        metadata["continue"] = json!(token);
        metadata["remainingItemCount"] = json!(1);
    }
    Answer::Json(json!({ "kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items }))
}

/// Follows the pods of a server.
async fn pods_of(server: &Server) -> (Pods, Arc<Freshness>) {
    let api: Api<Pod> = Api::all(server.start().await);
    let (pods, freshness) = (Pods::default(), Arc::new(Freshness::default()));
    let (sink, heard) = (pods.clone(), Arc::clone(&freshness));
    tokio::spawn(async move { follow(api, Some("spec.nodeName=node-1".to_owned()), &heard, sink).await });
    (pods, freshness)
}

#[tokio::test]
async fn pods_are_listed_page_by_page_and_followed_over_a_broken_connection() {
    let (server, cable) = (Server::default(), Arc::new(Notify::new()));
    server.will_say(
        PODS,
        [
            list("PodList", "100", "next", &[pod("a", "7")]),
            list("PodList", "100", "", &[pod("b", "8")]),
            Answer::Breaks(vec![event("ADDED", pod("c", "101")), bookmark("Pod", "150")], Arc::clone(&cable)),
            Answer::Stays(vec![event("DELETED", pod("a", "151"))]),
        ],
    );
    let (pods, freshness) = pods_of(&server).await;
    until("the addition is heard", || pods.find("c").is_some()).await;
    cable.notify_one();
    until("the deletion is heard", || pods.find("a").is_none()).await;
    assert!(pods.find("b").is_some() && pods.find("c").is_some());
    // The next watch begins at once, and begins.
    assert_eq!((freshness.lists(), freshness.failures(), freshness.stale_since()), (1, 0, 0));
    let asked: Vec<_> = server.asked(PODS).into_iter().map(|asked| asked.uri).collect();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|uri| uri.contains("fieldSelector=spec.nodeName%3Dnode-1")), "{asked:?}");
    assert!(asked[1].contains("continue=next"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=100") && asked[2].contains("allowWatchBookmarks=true"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=150"), "goes on behind the bookmark: {asked:?}");
}

#[tokio::test]
async fn what_is_gone_is_listed_anew_whichever_way_it_is_told() {
    let server = Server::default();
    server.will_say(
        PODS,
        [
            list("PodList", "100", "", &[pod("a", "7"), pod("b", "8")]),
            Answer::Ends(vec![event("ADDED", pod("c", "101")), gone()]),
            // `b` went while nobody looked.
            list("PodList", "300", "", &[pod("a", "7"), pod("c", "101")]),
            Answer::Status(410, "Gone"),
            list("PodList", "500", "", &[pod("c", "101")]),
            Answer::Stays(vec![]),
        ],
    );
    let (pods, freshness) = pods_of(&server).await;
    until("the third list", || freshness.lists() == 3 && server.asked(PODS).len() == 6).await;
    assert!(pods.find("c").is_some() && pods.len() == 1);
    assert_eq!(freshness.failures(), 0, "no failure, since nothing was missed");
    assert!(server.asked(PODS)[5].uri.contains("resourceVersion=500"));
}

#[tokio::test]
async fn while_the_api_server_is_away_what_was_heard_stays_and_the_time_is_told() {
    let server = Server::default();
    let begin = [list("PodList", "100", "", &[pod("a", "7")]), Answer::Ends(vec![bookmark("Pod", "120")])];
    server.will_say(PODS, begin);
    let (pods, freshness) = pods_of(&server).await;
    // Nothing more is written down: it says 503 from here on.
    until("several failures", || freshness.failures() > 2).await;
    let since = freshness.stale_since();
    assert!(since > 1_700_000_000 && freshness.is_synced());
    assert!(pods.find("a").is_some());
    server.will_say(PODS, [Answer::Stays(vec![event("ADDED", pod("b", "121"))])]);
    until("it is back", || pods.find("b").is_some()).await;
    assert_eq!((freshness.stale_since(), freshness.lists()), (0, 1), "nothing was listed again");
    assert!(server.asked(PODS).iter().skip(2).all(|asked| asked.uri.contains("resourceVersion=120")));
}

#[tokio::test]
async fn a_line_that_is_no_object_is_not_taken_for_silence() {
    let server = Server::default();
    server.will_say(
        PODS,
        [
            list("PodList", "100", "", &[]),
            Answer::Stays(vec![event("ADDED", json!({ "metadata": { "labels": 7 } }))]),
            Answer::Stays(vec![event("ADDED", pod("a", "101"))]),
        ],
    );
    let (pods, freshness) = pods_of(&server).await;
    until("the next watch", || pods.find("a").is_some()).await;
    assert_eq!(freshness.failures(), 1);
}

#[tokio::test]
async fn a_pod_says_who_made_it_and_what_its_containers_are() {
    let server = Server::default();
    server.will_say(PODS, [list("PodList", "100", "", &[pod("a", "7")]), Answer::Stays(vec![])]);
    let (pods, _) = pods_of(&server).await;
    until("the pod", || pods.find("a").is_some()).await;
    let pod = pods.find("a").unwrap();
    let owner = pod.owner.clone().unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("Deployment", "cart"));
    assert_eq!((&*pod.namespace, &*pod.service_account, &*pod.node), ("shop", "cart", "node-1"));
    assert_eq!(pod.labels.get("app").map(String::as_str), Some("cart"));
    let container = &pod.containers["cart"];
    assert_eq!(container.id, "5d3a0f6a6b0c4a86a2f0e0f7f6a5d9a4c3b2a1908f7e6d5c4b3a29181706f5e4");
    assert_eq!(
        container.digest.as_deref(),
        Some("sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a")
    );
    assert!(pod.containers.contains_key("migrate"), "the initial ones too");
}

#[tokio::test]
async fn the_node_says_where_it_runs() {
    const NODES: &str = "/api/v1/nodes";
    let server = Server::default();
    server.will_say(NODES, [list("NodeList", "9", "", &[written("node.json")]), Answer::Stays(vec![])]);
    let api: Api<Node> = Api::all(server.start().await);
    let (node, freshness) = (OwnNode::default(), Freshness::default());
    let sink = node.clone();
    tokio::spawn(async move { follow(api, Some("metadata.name=node-1".to_owned()), &freshness, sink).await });
    until("the node", || node.facts().is_some()).await;
    let facts = node.facts().unwrap();
    assert_eq!((facts.provider, &*facts.region, &*facts.zone), (Provider::Gcp, "europe-west3", "europe-west3-c"));
}
