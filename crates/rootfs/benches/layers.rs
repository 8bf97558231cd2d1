//! What a second image costs that shares its largest layer with the first: `cargo bench -p plimsoll-rootfs --bench layers
//! -- DIR`, where DIR is an unpacked root filesystem. Prints the table of docs/benchmarks.md.
//!
//! Every figure is the median of [`ROUNDS`] rounds, the cases of one round after another, with the files in the page cache.

use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use plimsoll_rootfs::{LayerCache, Options, Tree};

const ROUNDS: usize = 7;
/// Programs of each image's own layer, and bytes of one.
const PROGRAMS: usize = 20;
const SIZE: usize = 256 << 10;
const CACHE: u64 = 1 << 30;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one reading took.
#[derive(Clone, Copy)]
struct Reading {
    time: Duration,
    hashed: u64,
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench`.
    let base = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let base = PathBuf::from(base.ok_or("name an unpacked root filesystem")?).canonicalize()?;
    let scratch = tempfile::tempdir()?;
    let (first, second) = (own_layer(scratch.path(), "first")?, own_layer(scratch.path(), "second")?);
    let names = [
        "first image, nothing kept yet",
        "the same image again",
        "second image, layers kept",
        "second image, nothing kept",
    ];
    let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); names.len()];
    read(&[first.clone(), base.clone()], None)?;
    for round in 0..ROUNDS {
        let cache = LayerCache::open(&scratch.path().join(format!("cache-{round}")), CACHE)?;
        let cases = [(&first, Some(&cache)), (&first, Some(&cache)), (&second, Some(&cache)), (&second, None)];
        for ((own, cache), readings) in cases.into_iter().zip(&mut readings) {
            readings.push(read(&[own.clone(), base.clone()], cache)?);
        }
    }
    let medians: Vec<Reading> = readings.into_iter().filter_map(median).collect();
    let slowest = medians.last().ok_or("nothing was measured")?.time.as_secs_f64();
    println!("| reading | ms | bytes hashed | against nothing kept |\n|---|---:|---:|---:|");
    for (name, Reading { time, hashed }) in names.iter().zip(medians) {
        let ratio = time.as_secs_f64() / slowest;
        println!("| {name} | {:.1} | {hashed} | {ratio:.2} |", time.as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn own_layer(scratch: &Path, name: &str) -> Outcome<PathBuf> {
    let layer = scratch.join(name);
    fs::create_dir_all(layer.join("opt/app"))?;
    for program in 0..PROGRAMS {
        let path = layer.join(format!("opt/app/{program}"));
        let seed = format!("{name} {program} ");
        fs::write(&path, seed.repeat(SIZE / seed.len()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(layer)
}

fn read(layers: &[PathBuf], cache: Option<&LayerCache>) -> Outcome<Reading> {
    let started = Instant::now();
    let tree = Tree::read(layers, &Options { cache, ..Options::default() })?;
    Ok(Reading { time: started.elapsed(), hashed: tree.hashed_bytes })
}

fn median(mut readings: Vec<Reading>) -> Option<Reading> {
    readings.sort_by_key(|reading| reading.time);
    readings.get(readings.len() / 2).copied()
}
