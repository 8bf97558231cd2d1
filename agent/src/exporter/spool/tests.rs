use std::{fs::OpenOptions, os::unix::fs::FileExt as _};

use super::*;
use plimsoll_proto::v1;

const BOOT: &str = "boot-1";

struct Fixture {
    directory: tempfile::TempDir,
    counters: Arc<Counters>,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), counters: Arc::default() }
    }

    fn open(&self, boot: &str) -> (Writer, Reader) {
        self.open_bounded(boot, 1 << 20)
    }

    fn open_bounded(&self, boot: &str, bytes: u64) -> (Writer, Reader) {
        open(self.directory.path(), bytes, boot, &self.counters).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| segment::number(path).is_some())
            .collect();
        paths.sort();
        paths
    }

    fn cut(&self, segment: &Path, bytes: u64) {
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
    }

    fn flip(&self, segment: &Path, needle: &str) {
        let bytes = fs::read(segment).unwrap();
        let at = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
        OpenOptions::new().write(true).open(segment).unwrap().write_all_at(b"!", at as u64).unwrap();
    }
}

fn event(path: &str) -> v1::Event {
    v1::Event { file: Some(v1::File { path: path.to_owned(), ..Default::default() }), ..Default::default() }
}

fn events(count: usize) -> Vec<v1::Event> {
    (0..count).map(|n| event(&format!("/event/{n}"))).collect()
}

fn path_of(event: &v1::Event) -> &str {
    &event.file.as_ref().unwrap().path
}

/// Number and path of everything unread.
fn read_all(reader: &mut Reader) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    while let Some(batch) = reader.read(3, 1 << 20).unwrap() {
        assert!(batch.events.len() <= 3);
        assert_eq!(batch.last, batch.events.last().unwrap().sequence);
        found.extend(batch.events.iter().map(|event| (event.sequence, path_of(event).to_owned())));
    }
    found
}

fn acknowledge_all(reader: &mut Reader) -> usize {
    let mut count = 0;
    while let Some(batch) = reader.read(100, 1 << 20).unwrap() {
        count += batch.events.len();
        reader.acknowledge(&batch.numbering, batch.last, batch.end).unwrap();
    }
    count
}

fn numbers(found: &[(u64, String)]) -> Vec<u64> {
    found.iter().map(|(number, _)| *number).collect()
}

#[test]
fn events_come_out_in_order_with_consecutive_numbers() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append(events(10));
    writer.append([event("/last")]);
    let found = read_all(&mut reader);
    assert_eq!(numbers(&found), (1..=11).collect::<Vec<_>>());
    assert_eq!(found[0].1, "/event/0");
    assert_eq!(found[10].1, "/last");
    reader.rewind();
    assert_eq!(read_all(&mut reader).len(), 11, "nothing was acknowledged");
    assert_eq!(fixture.counters.snapshot().spooled, 11);
}

#[test]
fn only_what_was_not_acknowledged_is_read_again() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append(events(6));
    let batch = reader.read(4, 1 << 20).unwrap().unwrap();
    reader.acknowledge(&batch.numbering, batch.last, batch.end).unwrap();
    assert!(!reader.is_drained());
    reader.rewind();
    assert_eq!(numbers(&read_all(&mut reader)), [5, 6]);
    reader.rewind();
    assert_eq!(acknowledge_all(&mut reader), 2);
    assert!(reader.is_drained());
}

#[test]
fn numbering_goes_on_after_an_agent_was_killed() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    let numbering = reader.numbering().clone();
    writer.append(events(5));
    // Neither side gets to save anything.
    drop((writer, reader));
    let (mut writer, mut reader) = fixture.open(BOOT);
    assert_eq!(*reader.numbering(), numbering);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn numbering_goes_on_when_everything_was_acknowledged_and_removed() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    let numbering = reader.numbering().clone();
    writer.append(events(5));
    assert_eq!(acknowledge_all(&mut reader), 5);
    reader.save().unwrap();
    drop((writer, reader));
    fixture.segments().iter().for_each(|path| fs::remove_file(path).unwrap());
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event("/after")]);
    assert_eq!(*reader.numbering(), numbering);
    assert_eq!(read_all(&mut reader), [(6, "/after".to_owned())]);
}

#[test]
fn a_wiped_spool_starts_a_numbering_that_nobody_has_seen() {
    let fixture = Fixture::new();
    let (writer, reader) = fixture.open(BOOT);
    let numbering = reader.numbering().clone();
    drop((writer, reader));
    let (_, reader) = Fixture::new().open(BOOT);
    assert_ne!(*reader.numbering(), numbering);
}

#[test]
fn a_new_boot_counts_from_one_and_the_old_boots_events_are_still_read() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    writer.append(events(2));
    drop((writer, reader));
    let (mut writer, mut reader) = fixture.open("boot-2");
    writer.append([event("/new")]);
    let old = reader.read(10, 1 << 20).unwrap().unwrap();
    assert_eq!((old.numbering.boot_id.as_str(), old.last), (BOOT, 2));
    let new = reader.read(10, 1 << 20).unwrap().unwrap();
    assert_eq!((new.numbering.boot_id.as_str(), new.last), ("boot-2", 1));
}

#[test]
fn every_torn_tail_is_cut_and_its_number_stays_free() {
    for bytes in [1, 5, 9] {
        let fixture = Fixture::new();
        let (mut writer, reader) = fixture.open(BOOT);
        writer.append(events(4));
        drop((writer, reader));
        fixture.cut(&fixture.segments()[0], bytes);
        drop(fixture.open(BOOT));
        // A second start finds nothing to cut, and still knows of the torn record.
        let (mut writer, mut reader) = fixture.open(BOOT);
        writer.append([event("/after")]);
        assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 3, 5], "{bytes} bytes cut");
        assert_eq!(fixture.counters.snapshot().spool_corrupt, 0);
    }
}

#[test]
fn a_torn_header_costs_nothing() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    writer.append(events(2));
    drop((writer, reader));
    fs::write(segment::path(fixture.directory.path(), 1), b"\x10\0\0").unwrap();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 3]);
}

#[test]
fn damage_in_an_older_segment_is_counted_and_skipped_to_the_next() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    writer.append(events(5));
    drop((writer, reader));
    let (mut writer, reader) = fixture.open(BOOT);
    writer.append([event("/next-segment")]);
    drop((writer, reader));
    fixture.flip(&fixture.segments()[0], "/event/2");
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 6, 7], "the gap is what the collector will notice");
    assert_eq!(fixture.counters.snapshot().spool_corrupt, 1);
}

#[test]
fn damage_in_the_newest_segment_starts_a_new_numbering() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    let numbering = reader.numbering().clone();
    writer.append(events(5));
    drop((writer, reader));
    fixture.flip(&fixture.segments()[0], "/event/2");
    drop(fixture.open(BOOT));
    // The damage is cut away by now; the new numbering must have survived without an event.
    let (mut writer, mut reader) = fixture.open(BOOT);
    assert_ne!(*reader.numbering(), numbering);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 1]);
    assert_eq!(fixture.counters.snapshot().spool_corrupt, 1);
}

#[test]
fn damage_found_while_reading_is_counted_once() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append(events(5));
    fixture.flip(&fixture.segments()[0], "/event/2");
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2]);
    reader.rewind();
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2]);
    assert_eq!(fixture.counters.snapshot().spool_corrupt, 1);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [6]);
}

#[test]
fn a_full_spool_refuses_the_newest_counts_them_and_takes_more_once_there_is_room() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open_bounded(BOOT, MIN_BYTES);
    let long = "x".repeat(4000);
    for _ in 0..100 {
        writer.append([event(&long)]);
    }
    let counted = fixture.counters.snapshot();
    assert!(counted.spool_full > 0);
    assert_eq!(counted.spooled + counted.spool_full, 100);
    let size: u64 = fixture.segments().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(size <= MIN_BYTES, "{size}");
    assert_eq!(acknowledge_all(&mut reader) as u64, counted.spooled);
    writer.append([event("/room")]);
    let found = read_all(&mut reader);
    assert_eq!(found, [(counted.spooled + 1, "/room".to_owned())], "no number was spent on a refused event");
    assert!(fixture.segments().len() <= 2, "acknowledged segments are removed");
}

#[test]
fn a_disk_that_cannot_be_written_costs_counted_events_and_no_numbers() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    // A directory where the next segment should be made, in every place it could be.
    let blocker = segment::path(fixture.directory.path(), 0);
    fs::create_dir(&blocker).unwrap();
    writer.append(events(3));
    assert_eq!(fixture.counters.snapshot().spool_error, 3);
    fs::remove_dir(&blocker).unwrap();
    writer.append([event("/after")]);
    assert_eq!(read_all(&mut reader), [(1, "/after".to_owned())]);
}

#[test]
fn a_segment_that_somebody_removed_does_not_stop_the_rest() {
    let fixture = Fixture::new();
    let (mut writer, reader) = fixture.open(BOOT);
    writer.append(events(3));
    drop((writer, reader));
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event("/after")]);
    fs::remove_file(&fixture.segments()[0]).unwrap();
    assert_eq!(numbers(&read_all(&mut reader)), [4]);
    assert_eq!(fixture.counters.snapshot().spool_corrupt, 1);
}

#[test]
fn a_damaged_state_means_sending_again_not_losing() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append(events(3));
    assert_eq!(acknowledge_all(&mut reader), 3);
    reader.save().unwrap();
    drop((writer, reader));
    fs::write(fixture.directory.path().join("state"), b"garbage").unwrap();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event("/after")]);
    assert_eq!(numbers(&read_all(&mut reader)), [1, 2, 3, 4]);
}

#[test]
fn two_agents_cannot_share_a_spool() {
    let fixture = Fixture::new();
    let _open = fixture.open(BOOT);
    let second = open(fixture.directory.path(), 1 << 20, BOOT, &fixture.counters);
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
}

#[test]
fn an_oversized_event_is_counted() {
    let fixture = Fixture::new();
    let (mut writer, mut reader) = fixture.open(BOOT);
    writer.append([event(&"x".repeat(limits::EVENT_BYTES)), event("/small")]);
    assert_eq!(fixture.counters.snapshot().oversized, 1);
    assert_eq!(read_all(&mut reader), [(1, "/small".to_owned())]);
}
