//! A spool whose writer is killed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's own processes fail by panicking, and speak by printing"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use plimsoll_agent::exporter::spool::{self, Opened};
use plimsoll_proof::Link;
use plimsoll_proto::v1;
use prost::Message as _;

/// Tells the process that it is the writer, and where.
const DIRECTORY: &str = "PLIMSOLL_TEST_SPOOL";
const TEST: &str = "what_was_written_outlives_sigkill";

fn open(directory: &Path) -> Opened {
    spool::open(directory, &directory.join("keys"), "node", "boot", 64 << 20).unwrap()
}

/// Appends for as long as it lives, and says each number once it is written.
fn write(directory: &Path) {
    let mut spool = open(directory);
    for n in 0_u32.. {
        let file = v1::File { path: "x".repeat(usize::try_from(n % 3000).unwrap()), ..v1::File::default() };
        let number = spool.writer.append(v1::Event { file: Some(file), ..v1::Event::default() }).unwrap();
        println!("written {number}");
    }
}

#[test]
fn what_was_written_outlives_sigkill() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return write(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 1..=10 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture"]).env(DIRECTORY, directory.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.rsplit_once("written ").and_then(|(_, number)| number.parse::<u64>().ok());
        let mut told = lines.by_ref().map_while(Result::ok).filter_map(number).nth(50 * round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // What the pipe still held; the last line may be cut short, so that its number may be too low.
        told = lines.map_while(Result::ok).filter_map(number).fold(told, u64::max);
        let mut spool = open(directory.path());
        assert_eq!(spool.corrupt, 0);
        let batches = std::iter::from_fn(|| spool.reader.next_batch().unwrap());
        let mut chain = Link::start("node", "boot", &spool.writer.numbering().spool_id);
        let mut numbers = Vec::new();
        for batch in batches {
            let (before, after) = batch.chain.unwrap();
            assert_eq!(before, chain, "round {round}, after event {}", numbers.len());
            chain = batch.events.iter().fold(chain, |chain, event| chain.next(event));
            assert_eq!(after, chain, "round {round}");
            numbers.extend(batch.events.into_iter().map(|event| v1::Event::decode(event).unwrap().sequence));
        }
        let last = numbers.len() as u64;
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "round {round}");
        assert!(last >= told && told > before, "round {round}: {last} on disk, {told} told, {before} before");
        before = last;
    }
}
