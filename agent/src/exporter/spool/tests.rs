use super::*;

const NODE: &str = "node-1";
const BOOT: &str = "boot-1";

fn event(path: &str) -> v1::Event {
    v1::Event { file: Some(v1::File { path: path.to_owned(), ..v1::File::default() }), ..v1::Event::default() }
}

fn open_at(directory: &Path, boot_id: &str) -> Opened {
    open(directory, &directory.join("keys"), NODE, boot_id, MINIMUM_BYTES).unwrap()
}

/// Appends events called `/0`, `/1`, ...; each is large enough that a segment takes few.
fn fill(writer: &mut Writer, count: usize) -> Vec<u64> {
    (0..count).map(|n| writer.append(event(&format!("/{n}{}", "x".repeat(10_000)))).unwrap()).collect()
}

fn number(event: &[u8]) -> u64 {
    v1::Event::decode(event).unwrap().sequence
}

/// Spool id and number of everything unread.
fn read_all(reader: &mut Reader) -> Vec<(String, u64)> {
    std::iter::from_fn(|| reader.next_batch().unwrap())
        .flat_map(|batch| {
            let spool_id = batch.numbering.spool_id.clone();
            batch.events.into_iter().map(move |event| (spool_id.clone(), number(&event)))
        })
        .collect()
}

fn numbers(reader: &mut Reader) -> Vec<u64> {
    read_all(reader).into_iter().map(|(_, number)| number).collect()
}

fn acknowledge_all(reader: &mut Reader) {
    while let Some(batch) = reader.next_batch().unwrap() {
        reader.acknowledge(&batch.mark()).unwrap();
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| segment::number(path).is_some()).collect();
    paths.sort();
    paths
}

fn cut(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

/// Flips a bit in the middle of record `index`.
fn flip(path: &Path, index: usize) {
    let mut bytes = fs::read(path).unwrap();
    // The header is a record too.
    let (mut at, mut length) = (0, 0);
    for _ in 0..=index + 1 {
        at += length;
        length = frame::HEADER + usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap();
    }
    bytes[at + length / 2] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn events_come_back_in_order_over_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    assert_eq!(fill(&mut spool.writer, 40), (1..=40).collect::<Vec<_>>());
    assert!(segments(directory.path()).len() > 2);
    assert_eq!(numbers(&mut spool.reader), (1..=40).collect::<Vec<_>>());
    assert!(spool.reader.is_at_end());
    spool.reader.rewind();
    assert_eq!(numbers(&mut spool.reader).len(), 40);
}

#[test]
fn a_reopened_spool_continues_the_numbering() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 3);
    let numbering = first.writer.numbering().clone();
    drop(first);
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!(second.writer.numbering(), &numbering);
    assert_eq!(fill(&mut second.writer, 2), [4, 5]);
    assert_eq!(numbers(&mut second.reader), [1, 2, 3, 4, 5]);
    assert_eq!(second.corrupt, 0);
}

#[test]
fn numbering_continues_when_everything_was_acknowledged_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 3);
    acknowledge_all(&mut first.reader);
    let numbering = first.writer.numbering().clone();
    drop(first);
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!(segments(directory.path()), Vec::<PathBuf>::new());
    assert_eq!(second.writer.numbering(), &numbering);
    assert_eq!(fill(&mut second.writer, 1), [4]);
    assert_eq!(numbers(&mut second.reader), [4]);
}

#[test]
fn a_torn_record_is_cut_off_and_its_number_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 3);
    let numbering = first.writer.numbering().clone();
    drop(first);
    cut(&segments(directory.path())[0], 5);
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!((second.corrupt, second.writer.numbering()), (0, &numbering));
    assert_eq!(fill(&mut second.writer, 1), [3]);
    assert_eq!(numbers(&mut second.reader), [1, 2, 3]);
}

#[test]
fn corruption_in_the_middle_costs_the_rest_of_its_segment_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 40);
    let numbering = first.writer.numbering().clone();
    drop(first);
    flip(&segments(directory.path())[0], 3);
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!((second.corrupt, second.writer.numbering()), (1, &numbering));
    assert_eq!(fill(&mut second.writer, 1), [41]);
    let read = numbers(&mut second.reader);
    assert_eq!(read[..3], [1, 2, 3]);
    assert!(read[3] > 4, "{read:?}");
    assert_eq!(read[4..], (read[3] + 1..=41).collect::<Vec<_>>());
    drop(second);
    assert_eq!(open_at(directory.path(), BOOT).corrupt, 0, "counted twice");
}

#[test]
fn corruption_of_the_newest_records_begins_a_new_numbering() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 3);
    let numbering = first.writer.numbering().clone();
    drop(first);
    flip(&segments(directory.path())[0], 1);
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!(second.corrupt, 1);
    assert_ne!(second.writer.numbering(), &numbering);
    assert_eq!(fill(&mut second.writer, 1), [1]);
    let fresh = second.writer.numbering().spool_id.clone();
    assert_eq!(read_all(&mut second.reader), [(numbering.spool_id, 1), (fresh, 1)]);
}

#[test]
fn corruption_under_a_running_agent_is_counted_and_passed() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    fill(&mut spool.writer, 3);
    flip(&segments(directory.path())[0], 1);
    assert_eq!(numbers(&mut spool.reader), [1]);
    assert_eq!((spool.reader.take_corrupt(), spool.reader.take_corrupt()), (1, 0));
    fill(&mut spool.writer, 1);
    assert_eq!(numbers(&mut spool.reader), [4]);
}

#[test]
fn a_full_spool_refuses_the_newest_and_gives_them_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    let mut taken = 0;
    while spool.writer.append(event(&"x".repeat(10_000))).is_ok() {
        taken += 1;
    }
    assert!(matches!(spool.writer.append(event("/small/too/once/full".repeat(500).as_str())), Err(AppendError::Full)));
    let on_disk: u64 = segments(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= MINIMUM_BYTES && on_disk > MINIMUM_BYTES - 20_000, "{on_disk}");
    acknowledge_all(&mut spool.reader);
    assert_eq!(fill(&mut spool.writer, 1), [taken + 1]);
    assert_eq!(numbers(&mut spool.reader), [taken + 1]);
}

#[test]
fn a_new_boot_has_its_own_numbers_and_the_old_ones_are_still_sent() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 2);
    drop(first);
    let mut second = open_at(directory.path(), "boot-2");
    assert_eq!(fill(&mut second.writer, 2), [1, 2]);
    let boots: Vec<_> = std::iter::from_fn(|| second.reader.next_batch().unwrap())
        .map(|batch| (batch.numbering.boot_id.clone(), batch.events.len(), batch.last))
        .collect();
    assert_eq!(boots, [(BOOT.to_owned(), 2, 2), ("boot-2".to_owned(), 2, 2)]);
}

#[test]
fn segments_are_deleted_once_acknowledged_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    fill(&mut spool.writer, 40);
    let before = segments(directory.path());
    let first = spool.reader.next_batch().unwrap().unwrap();
    let second = spool.reader.next_batch().unwrap().unwrap();
    assert_eq!(segments(directory.path()), before);
    spool.reader.acknowledge(&first.mark()).unwrap();
    assert_eq!(segments(directory.path()), before[1..]);
    drop(spool);
    let mut reopened = open_at(directory.path(), BOOT);
    assert_eq!(numbers(&mut reopened.reader).first(), Some(&number(&second.events[0])));
}

#[test]
fn a_lost_state_means_sending_again_and_no_number_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 40);
    let batch = first.reader.next_batch().unwrap().unwrap();
    first.reader.acknowledge(&batch.mark()).unwrap();
    drop(first);
    fs::write(directory.path().join("state"), b"rubbish").unwrap();
    let mut second = open_at(directory.path(), BOOT);
    assert_eq!(fill(&mut second.writer, 1), [41]);
    assert_eq!(numbers(&mut second.reader), (batch.last + 1..=41).collect::<Vec<_>>());
}

#[test]
fn a_directory_has_one_owner_and_a_bound_that_is_of_use() {
    let directory = tempfile::tempdir().unwrap();
    let _spool = open_at(directory.path(), BOOT);
    assert!(matches!(
        open(directory.path(), &directory.path().join("keys"), NODE, BOOT, MINIMUM_BYTES),
        Err(SpoolError::InUse { .. })
    ));
    assert!(matches!(
        open(directory.path(), &directory.path().join("keys"), NODE, BOOT, 1),
        Err(SpoolError::TooSmall { bytes: 1 })
    ));
}

#[test]
fn nothing_of_an_event_lies_on_disk_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    fill(&mut spool.writer, 1);
    let bytes = fs::read(&segments(directory.path())[0]).unwrap();
    assert!(bytes.len() > 10_000 && !bytes.windows(4).any(|window| window == b"xxxx"));
    assert_eq!(numbers(&mut spool.reader), [1]);
}

#[test]
fn a_record_cut_at_any_byte_costs_that_record_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    for path in ["/a", "/b", "/c"] {
        first.writer.append(event(path)).unwrap();
    }
    let path = segments(directory.path())[0].clone();
    let numbering = first.writer.numbering().clone();
    drop(first);
    let whole = fs::read(&path).unwrap();
    let last = frame::HEADER + seal::OVERHEAD + LINK_BYTES + v1::Event { sequence: 3, ..event("/c") }.encoded_len();
    for cut in 1..=last {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut again = open_at(directory.path(), BOOT);
        assert_eq!((again.corrupt, again.writer.numbering()), (0, &numbering), "{cut} bytes cut");
        assert_eq!(numbers(&mut again.reader), [1, 2], "{cut} bytes cut");
        assert_eq!(again.writer.append(event("/d")).unwrap(), 3);
        drop(again);
        for other in &segments(directory.path())[1..] {
            fs::remove_file(other).unwrap();
        }
    }
}

#[test]
fn without_its_keys_a_spool_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 1);
    drop(first);
    let (keys, kept) = (directory.path().join("keys"), directory.path().join("kept"));
    fs::rename(&keys, &kept).unwrap();
    let error = open(directory.path(), &keys, NODE, BOOT, MINIMUM_BYTES).unwrap_err();
    assert!(matches!(error, SpoolError::KeyMissing { .. }), "{error}");
    fs::rename(&kept, &keys).unwrap();
    assert_eq!(numbers(&mut open_at(directory.path(), BOOT).reader), [1]);
}

mod chain;
