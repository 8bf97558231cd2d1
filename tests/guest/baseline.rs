//! What the other tests stand on: the test image, its containers, and the program in it that tries things.

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container, ContainerSpec},
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("baseline::the_actor_runs", the_actor_runs),
        trial("baseline::a_loop_counts_every_exec", a_loop_counts_every_exec),
        trial("baseline::the_digest_names_the_layers", the_digest_names_the_layers),
    ]
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
