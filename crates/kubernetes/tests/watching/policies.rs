//! Policies as objects: what is in force of them, and what is reported.

use std::sync::Arc;

use plimsoll_kubernetes::{Api, Client, Coverage, Freshness, Kind, Shared, follow, report};
use plimsoll_policy::{Authority, Mode};
use serde_json::{Value, json};

use super::server::{Answer, Server, event, until};

const CLUSTER: &str = "/apis/plimsoll.dev/v1alpha1/clusterenforcementpolicies";
const NAMESPACED: &str = "/apis/plimsoll.dev/v1alpha1/enforcementpolicies";
const STATUS: &str = "/apis/plimsoll.dev/v1alpha1/namespaces/shop/enforcementpolicies/cart/status";

/// An object with everything around it that an API server adds.
fn object(uid: &str, generation: i64, version: &str, mode: &str) -> Value {
    let mut object = super::written("enforcementpolicy.json");
    object["metadata"]["uid"] = json!(uid);
    object["metadata"]["generation"] = json!(generation);
    object["metadata"]["resourceVersion"] = json!(version);
    object["spec"]["mode"] = json!(mode);
    object
}

fn list(version: &str, items: &[Value]) -> Answer {
    Answer::Json(json!({
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "EnforcementPolicyList",
        "metadata": { "continue": "", "resourceVersion": version }, "items": items,
    }))
}

async fn policies_of(server: &Server, shared: &Shared) -> (Client, Arc<Freshness>) {
    let client = server.start().await;
    let freshness = Arc::new(Freshness::default());
    let api = Api::all_with(client.clone(), &Kind::Namespaced.resource());
    let (heard, sink) = (Arc::clone(&freshness), shared.sink(Kind::Namespaced));
    tokio::spawn(async move { follow(api, None, &heard, sink).await });
    (client, freshness)
}

fn modes(shared: &Shared) -> Vec<Mode> {
    shared.lock().in_force().iter().map(|policy| policy.mode).collect()
}

#[tokio::test]
async fn a_broken_object_leaves_the_old_policy_in_force_and_a_deleted_one_none() {
    let server = Server::default();
    let shared = Shared::default();
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Stays(vec![event("MODIFIED", object("u1", 2, "11", "Enforced"))]),
        ],
    );
    let (_client, freshness) = policies_of(&server, &shared).await;
    until("the broken one", || shared.lock().counts().refused == 1).await;
    assert_eq!(modes(&shared), [Mode::Enforce]);
    {
        let policies = shared.lock();
        let (key, entry) = policies.entries().next().unwrap();
        assert_eq!(key.to_string(), "EnforcementPolicy shop/cart");
        assert_eq!((entry.generation, entry.accepted.as_ref().map(|(_, generation)| *generation)), (2, Some(1)));
        let why = entry.refused.as_deref().unwrap();
        assert!(why.contains("EnforcementPolicy shop/cart") && why.contains("did you mean `Enforce`?"), "{why}");
    }
    assert_eq!(freshness.failures(), 0);

    let server = Server::default();
    let shared = Shared::default();
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Stays(vec![event("DELETED", object("u1", 1, "12", "Enforce"))]),
        ],
    );
    let (_client, _) = policies_of(&server, &shared).await;
    let mut changes = shared.changes();
    changes.wait_for(|count| *count == 2).await.unwrap();
    assert_eq!(modes(&shared), []);
}

#[tokio::test]
async fn one_that_was_made_anew_owes_nothing_to_the_one_before() {
    let server = Server::default();
    let shared = Shared::default();
    // Deleted and made again while the connection was away, and broken from the start.
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Status(410, "Gone"),
            list("20", &[object("u2", 1, "19", "Enforced")]),
            Answer::Stays(vec![]),
        ],
    );
    let (_client, freshness) = policies_of(&server, &shared).await;
    until("the second list", || freshness.lists() == 2).await;
    assert_eq!(modes(&shared), []);
    assert_eq!(shared.lock().counts().refused, 1);
}

#[tokio::test]
async fn an_unknown_field_is_refused_and_a_status_is_no_change() {
    let server = Server::default();
    let shared = Shared::default();
    let mut unknown = object("u1", 2, "12", "Enforce");
    unknown["spec"]["evidnce"] = json!("sbom-digest");
    let mut reported = object("u1", 1, "11", "Enforce");
    reported["status"] = json!({ "observedGeneration": 1 });
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Stays(vec![event("MODIFIED", reported), event("MODIFIED", unknown)]),
        ],
    );
    let (_client, _) = policies_of(&server, &shared).await;
    until("the unknown field", || shared.lock().counts().refused == 1).await;
    assert_eq!(*shared.changes().borrow(), 2, "the status was none");
    let policies = shared.lock();
    let (_, entry) = policies.entries().next().unwrap();
    assert!(entry.refused.as_deref().unwrap().contains("did you mean `evidence`?"));
}

#[tokio::test]
async fn the_next_agent_needs_no_api_server_to_go_on() {
    let server = Server::default();
    let shared = Shared::default();
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Stays(vec![event("MODIFIED", object("u1", 2, "11", "Enforced"))]),
        ],
    );
    let (_client, _) = policies_of(&server, &shared).await;
    until("the broken one", || shared.lock().counts().refused == 1).await;
    let kept = shared.lock().keep().unwrap();

    let (server, next) = (Server::default(), Shared::default());
    assert_eq!(next.restore(&kept).unwrap(), 1);
    let (_client, freshness) = policies_of(&server, &next).await;
    until("it is away", || freshness.failures() > 0).await;
    assert!(!freshness.is_synced() && freshness.stale_since() > 0);
    let [policy] = &next.lock().in_force()[..] else { panic!("one policy") };
    assert_eq!((&*policy.name, policy.authority, policy.mode), ("shop/cart", Authority::Namespace, Mode::Enforce));
    assert_eq!(policy.selector.namespace.as_deref(), Some("shop"));
    // The broken generation is refused again, and the old one is in force still.
    server.will_say(NAMESPACED, [list("11", &[object("u1", 2, "11", "Enforced")]), Answer::Stays(vec![])]);
    until("it is back", || freshness.is_synced()).await;
    assert_eq!((modes(&next), next.lock().counts().refused), (vec![Mode::Enforce], 1));
    assert!(Shared::default().restore(b"[{").is_err());
}

#[tokio::test]
async fn the_cluster_has_policies_of_its_own() {
    let server = Server::default();
    let shared = Shared::default();
    let mut all = object("u1", 1, "9", "Enforce");
    all["kind"] = json!("ClusterEnforcementPolicy");
    all["metadata"].as_object_mut().unwrap().remove("namespace");
    server.will_say(CLUSTER, [list("10", &[all]), Answer::Stays(vec![])]);
    let api = Api::all_with(server.start().await, &Kind::Cluster.resource());
    let (freshness, sink) = (Freshness::default(), shared.sink(Kind::Cluster));
    tokio::spawn(async move { follow(api, None, &freshness, sink).await });
    until("the policy", || !shared.lock().in_force().is_empty()).await;
    let [policy] = &shared.lock().in_force()[..] else { panic!("one policy") };
    assert_eq!((&*policy.name, policy.authority), ("cart", Authority::Cluster));
}

#[tokio::test]
async fn what_became_of_a_policy_is_reported_once() {
    let server = Server::default();
    let shared = Shared::default();
    server.will_say(
        NAMESPACED,
        [
            list("10", &[object("u1", 1, "9", "Enforce")]),
            Answer::Ends(vec![event("MODIFIED", object("u1", 2, "11", "Enforced"))]),
        ],
    );
    let (client, freshness) = policies_of(&server, &shared).await;
    until("the broken one", || shared.lock().counts().refused == 1).await;
    let coverage = |_: &str, _: &str| Coverage { workloads: 2, files_allowed: 310, files_refused: 4, refused: None };
    server.will_say(STATUS, [Answer::Json(object("u1", 2, "12", "Enforced"))]);
    assert_eq!(report(&client, "node-1", &shared, coverage).await.unwrap(), 1);

    let asked = server.asked(STATUS);
    assert_eq!(asked[0].method, "PATCH");
    assert!(asked[0].uri.contains("fieldManager=plimsoll-agent%2Fnode-1") && asked[0].uri.contains("force=true"));
    let status = &asked[0].body["status"];
    assert_eq!(status["observedGeneration"], 2);
    let node = &status["nodes"][0];
    assert_eq!(
        (&node["node"], &node["workloads"], &node["observedGeneration"]),
        (&json!("node-1"), &json!(2), &json!(1))
    );
    assert_eq!((&node["filesAllowed"], &node["filesRefused"]), (&json!(310), &json!(4)));
    let [accepted, enforced] = &status["conditions"].as_array().unwrap()[..] else { panic!("two conditions") };
    assert_eq!((&accepted["type"], &accepted["status"]), (&json!("Accepted"), &json!("False")));
    assert!(accepted["message"].as_str().unwrap().contains("did you mean `Enforce`?"));
    assert_eq!((&enforced["status"], &enforced["reason"]), (&json!("False"), &json!("OlderGeneration")));

    // What the object says already is not said again; what has changed is, and what did not keeps its time.
    let mut told = object("u1", 2, "12", "Enforced");
    told["status"] = status.clone();
    until("the watch is away", || freshness.failures() > 0).await;
    let mut mended = object("u1", 3, "13", "Enforce");
    mended["status"] = status.clone();
    server.will_say(NAMESPACED, [Answer::Ends(vec![event("MODIFIED", told)])]);
    until("the status is heard", || shared.lock().entries().any(|(_, entry)| entry.status == *status)).await;
    assert_eq!(report(&client, "node-1", &shared, coverage).await.unwrap(), 0);
    server.will_say(NAMESPACED, [Answer::Stays(vec![event("MODIFIED", mended)])]);
    until("it is mended", || shared.lock().counts().refused == 0).await;
    server.will_say(STATUS, [Answer::Json(object("u1", 3, "14", "Enforce"))]);
    assert_eq!(report(&client, "node-1", &shared, coverage).await.unwrap(), 1);
    let status = &server.asked(STATUS)[1].body["status"];
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][1]["status"]),
        (&json!("True"), &json!("True"))
    );
    assert_eq!(status["nodes"][0]["observedGeneration"], 3);

    // An object that is gone when its status comes is nobody's failure; an API server that refuses is.
    server.will_say(STATUS, [Answer::Status(404, "NotFound"), Answer::Status(403, "Forbidden")]);
    assert_eq!(report(&client, "node-1", &shared, coverage).await.unwrap(), 1);
    let error = report(&client, "node-1", &shared, coverage).await.unwrap_err();
    assert_eq!(error.to_string(), "the status of EnforcementPolicy shop/cart cannot be reported");
}
