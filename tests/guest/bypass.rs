//! Every technique twice: without a policy it works, with one it is denied and the collector hears why.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    container::{Container, ContainerSpec, SharedContainer},
    stage::{Stage, stage},
    technique::{DENIED, Suite, Technique, suites, techniques},
    trial,
};

/// Begins a line of output that is for the host: what was shown of one technique, as JSON.
const RESULT: &str = "technique-result ";

/// Without a policy, everything works: what is denied under one is not simply broken.
pub(crate) fn baselines() -> Vec<Trial> {
    let container = |suite: &'static Suite| {
        let spec = || -> Result<ContainerSpec> {
            let mut spec = ContainerSpec::of_test_image(&format!("baseline-{}", suite.name))?;
            (suite.configure)(&mut spec);
            Ok(spec)
        };
        (suite.name, Arc::new(SharedContainer::new(spec)))
    };
    let containers: BTreeMap<&str, Arc<SharedContainer>> = suites().into_iter().map(container).collect();
    let trials = techniques().filter_map(|(area, technique)| {
        let container = containers.get(technique.suite.name).map(Arc::clone)?;
        let test = move || container.with(|container| works_without_a_policy(area, &technique, container));
        Some(trial(format!("baseline::works::{}", technique.name), test))
    });
    trials.collect()
}

/// With a policy, each is denied, or is among those that are said not to be.
pub(crate) fn denials() -> Vec<Trial> {
    let trials = techniques().map(|(area, technique)| match technique.partial {
        None => trial(format!("denied::{}", technique.name), move || is_denied(area, &technique)),
        Some(why) => trial(format!("partial::{}", technique.name), move || is_not_denied(area, &technique, why)),
    });
    trials.collect()
}

/// Prints what was shown, for whoever asked for it.
pub(crate) fn print_results() {
    for result in results().iter() {
        println!("{RESULT}{result}");
    }
}

/// The container that a suite's techniques share; it lives until the tests end.
pub(crate) fn enforced(stage: &Stage, suite: &Suite) -> Result<Arc<Container>> {
    type Started = Result<Arc<Container>, String>;
    static CONTAINERS: Mutex<BTreeMap<&'static str, Started>> = Mutex::new(BTreeMap::new());
    let mut containers = CONTAINERS.lock().unwrap_or_else(PoisonError::into_inner);
    let started = containers.entry(suite.name).or_insert_with(|| {
        let spec = stage.spec(suite.name, suite.name).map(|mut spec| {
            (suite.configure)(&mut spec);
            spec
        });
        spec.and_then(Container::create).map(Arc::new).map_err(|error| format!("{error:#}"))
    });
    started.clone().map_err(|error| anyhow!("the container did not start: {error}"))
}

fn works_without_a_policy(area: &str, technique: &Technique, container: &Container) -> Result<()> {
    let output = technique.attempt(container)?;
    ensure!(output.status == 0, "it does not work even without a policy: {output:?}");
    record(area, technique, "works", "");
    Ok(())
}

fn is_denied(area: &str, technique: &Technique) -> Result<()> {
    let stage = stage()?;
    let suite = technique.suite;
    let container = enforced(&stage, suite)?;
    let before = stage.denials()?;
    let output = technique.attempt(&container)?;
    ensure!(output.status == DENIED, "it was not denied: {output:?}; what was: {}", stage.recent(suite.name));
    let query = format!("verdict=deny&hook={}&reason={}", technique.hook, technique.reason);
    let named = |event: &Value| {
        technique.path.is_none_or(|path| event["file"]["path"] == path)
            && technique.address.is_none_or(|address| event["network"]["address"] == address)
    };
    let event = stage
        .event_after(before, suite.name, &query, named)
        .with_context(|| format!("no {query} of {:?}; there is {}", technique.path, stage.recent(suite.name)))?;
    ensure!(event["policy"]["name"] == suite.name, "{event}");
    record(area, technique, "denied", "");
    Ok(())
}

fn is_not_denied(area: &str, technique: &Technique, why: &str) -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, technique.suite)?;
    let output = technique.attempt(&container)?;
    ensure!(output.status == 0, "it is said not to be stopped, and was: {output:?}");
    record(area, technique, "not denied", why);
    Ok(())
}

fn results() -> std::sync::MutexGuard<'static, Vec<Value>> {
    static RESULTS: Mutex<Vec<Value>> = Mutex::new(Vec::new());
    RESULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(area: &str, technique: &Technique, result: &str, why: &str) {
    results().push(json!({
        "area": area,
        "name": technique.name,
        "what": technique.what,
        "reference": technique.reference,
        "hook": technique.hook,
        "reason": technique.reason,
        "result": result,
        "why": why,
    }));
}
