//! Events a second that a collector puts on disk: `cargo bench -p plimsoll-collector`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    dead_code,
    reason = "a measurement ends at the first surprise, and shares the tests' harness"
)]

#[path = "../tests/collector/harness.rs"]
mod harness;

use std::time::Instant;

use harness::{Harness, batch, event};

const NODES: u64 = 4;

#[tokio::main]
async fn main() {
    for size in [1, 100, 1000] {
        measure(size, 100_000.min(size * 500)).await;
    }
}

async fn measure(size: u64, events: u64) {
    let harness = Harness::start().await;
    let started = Instant::now();
    let mut agents = Vec::new();
    for name in 0..NODES {
        let mut stream = harness.stream().await;
        agents.push(tokio::spawn(async move {
            let batches = stream.batches.clone();
            let sender = tokio::spawn(async move {
                for first in (1..=events).step_by(usize::try_from(size).unwrap()) {
                    let events = (first..first + size).map(|n| event(n, n));
                    batches.send(batch(&name.to_string(), events)).await.unwrap();
                }
            });
            while stream.answer().await.unwrap().sequence < events {}
            sender.await.unwrap();
        }));
    }
    for agent in agents {
        agent.await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{NODES} agents, batches of {size}: {:.0} events/s on disk", (NODES * events) as f64 / seconds);
    assert_eq!(harness.metric("events_stored_total").await, NODES * events);
    harness.stop().await;
}
