//! Without a policy everything works. Each test is the twin of a denial: it shows that a technique that is denied under a policy
//! is not simply broken.

use std::sync::Arc;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container, ContainerSpec, SharedContainer},
    technique::{Technique, techniques},
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    let ordinary = [
        trial("baseline::the_actor_runs", the_actor_runs),
        trial("baseline::a_loop_counts_every_exec", a_loop_counts_every_exec),
        trial("baseline::the_digest_names_the_layers", the_digest_names_the_layers),
    ];
    let container = Arc::new(SharedContainer::new(|| ContainerSpec::of_test_image("baseline")));
    let works = techniques().into_iter().map(|technique| {
        let container = Arc::clone(&container);
        let name = format!("baseline::works::{}", technique.name);
        trial(name, move || container.with(|container| works_without_a_policy(&technique, container)))
    });
    let works: Vec<Trial> = works.collect();
    ordinary.into_iter().chain(works).collect()
}

fn the_actor_runs() -> anyhow::Result<()> {
    let container = Container::create(ContainerSpec::of_test_image("hello")?)?;
    let output = container.exec(&[ACTOR, "hello"])?;
    ensure!(output.status == 0 && output.stdout == "hello from plimsoll-actor\n", "{output:?}");
    Ok(())
}

fn a_loop_counts_every_exec() -> anyhow::Result<()> {
    let container = Container::create(ContainerSpec::of_test_image("loop")?)?;
    let output = container.exec(&[ACTOR, "fork-exec-loop", "/usr/bin/true", "20"])?;
    ensure!(output.stdout == "succeeded=20 eperm=0 other=0\n", "{output:?}");
    let output = container.exec(&[ACTOR, "fork-exec-loop", "/nonexistent", "3"])?;
    ensure!(output.stdout == "succeeded=0 eperm=0 other=3\n", "{output:?}");
    Ok(())
}

fn the_digest_names_the_layers() -> anyhow::Result<()> {
    let spec = ContainerSpec::of_test_image("digest")?;
    let digest = spec.annotations.get(crate::container::DIGEST_ANNOTATION);
    ensure!(digest.is_some_and(|digest| digest.len() == "sha256:".len() + 64), "{digest:?}");
    ensure!(spec.layers.len() == 3 && spec.layers.iter().all(|layer| layer.is_dir()), "{:?}", spec.layers);
    Ok(())
}

fn works_without_a_policy(technique: &Technique, container: &Container) -> anyhow::Result<()> {
    let output = technique.attempt(container)?;
    ensure!(output.status == 0, "it does not work even without a policy: {output:?}");
    Ok(())
}
