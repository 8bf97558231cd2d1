//! The chain over restarts, damage and spools of older agents.

use plimsoll_proof::Link;

use super::*;

/// The links around every batch that is unread, and the link that the events themselves lead to.
fn links(reader: &mut Reader) -> Vec<(Link, Link)> {
    std::iter::from_fn(|| reader.next_batch().unwrap())
        .map(|batch| {
            let (before, after) = batch.chain.unwrap();
            assert_eq!(batch.events.iter().fold(before, |link, event| link.next(event)), after);
            (before, after)
        })
        .collect()
}

#[test]
fn it_goes_on_over_segments_and_restarts_and_a_torn_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 20);
    let numbering = first.writer.numbering().clone();
    drop(first);
    cut(segments(directory.path()).last().unwrap(), 3);
    let mut second = open_at(directory.path(), BOOT);
    fill(&mut second.writer, 3);
    let mut found = links(&mut second.reader);
    let (first, last) = (found[0].0, found.last().unwrap().1);
    assert_eq!(first, numbering.start());
    assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].0), "{found:?}");
    // Everything acknowledged and deleted: the link is remembered beside the number.
    second.reader.rewind();
    acknowledge_all(&mut second.reader);
    drop(second);
    let mut third = open_at(directory.path(), BOOT);
    assert_eq!(segments(directory.path()), Vec::<PathBuf>::new());
    fill(&mut third.writer, 1);
    found = links(&mut third.reader);
    assert_eq!((found.len(), found[0].0), (1, last));
}

#[test]
fn damage_leaves_a_gap_and_the_links_behind_it_are_the_true_ones() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    fill(&mut spool.writer, 3);
    let mut whole = spool.reader.next_batch().unwrap().unwrap();
    let (before, after) = whole.chain.unwrap();
    spool.reader.rewind();
    flip(&segments(directory.path())[0], 1);
    assert_eq!(links(&mut spool.reader), [(before, before.next(&whole.events.remove(0)))]);
    fill(&mut spool.writer, 1);
    assert_eq!(links(&mut spool.reader)[0].0, after);
}

/// Writes a segment as agents wrote it that kept no chain.
fn unchained(directory: &Path, events: u64) {
    let mut keys = Keys::open(&directory.join("keys")).unwrap();
    let numbering = Numbering { node: String::new(), boot_id: BOOT.to_owned(), spool_id: "old".to_owned() };
    let (sealer, key) = keys.issue(&segment::place(1, &numbering, 1, None)).unwrap();
    let header = serde_json::json!({ "numbering": { "boot_id": BOOT, "spool_id": "old" }, "first": 1, "key": key });
    let mut bytes = numbering::framed(&header).unwrap();
    for sequence in 1..=events {
        let plain = v1::Event { sequence, ..event("/old") }.encode_to_vec();
        let record = sealer.seal(&plain, &seal::place(1, bytes.len() as u64)).unwrap();
        frame::write(&record, &mut bytes).unwrap();
    }
    fs::write(segment::path(directory, 1), bytes).unwrap();
}

#[test]
fn a_spool_without_a_chain_is_sent_and_not_continued() {
    let directory = tempfile::tempdir().unwrap();
    unchained(directory.path(), 2);
    let mut spool = open_at(directory.path(), BOOT);
    assert_eq!((spool.corrupt, fill(&mut spool.writer, 1)), (0, vec![1]));
    let old = spool.reader.next_batch().unwrap().unwrap();
    assert_eq!((old.numbering.spool_id.as_str(), old.events.len(), old.chain), ("old", 2, None));
    spool.reader.acknowledge(&old.mark()).unwrap();
    let new = spool.reader.next_batch().unwrap().unwrap();
    assert_eq!(new.chain.unwrap().0, spool.writer.numbering().start());
    // An old state without a link is no better.
    drop(spool);
    fs::remove_file(&segments(directory.path())[0]).unwrap();
    assert_eq!(fill(&mut open_at(directory.path(), BOOT).writer, 1), [1]);
}

#[test]
fn a_node_with_another_name_begins_another_numbering() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open_at(directory.path(), BOOT);
    fill(&mut first.writer, 2);
    drop(first);
    let mut second = open(directory.path(), &directory.path().join("keys"), "node-2", BOOT, MINIMUM_BYTES).unwrap();
    assert_eq!((fill(&mut second.writer, 1), second.writer.numbering().node.as_str()), (vec![1], "node-2"));
}

#[test]
fn a_disowned_numbering_is_left_and_only_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open_at(directory.path(), BOOT);
    fill(&mut spool.writer, 2);
    let old = spool.writer.numbering().clone();
    spool.reader.disown(&old.boot_id, &old.spool_id);
    assert_eq!(fill(&mut spool.writer, 1), [1]);
    let fresh = spool.writer.numbering().clone();
    assert_ne!(fresh, old);
    assert_eq!(*spool.reader.numbering(), fresh);
    spool.reader.disown(&old.boot_id, &old.spool_id);
    assert_eq!(fill(&mut spool.writer, 1), [2]);
    assert_eq!(read_all(&mut spool.reader).len(), 4);
    drop(spool);
    assert_eq!(*open_at(directory.path(), BOOT).writer.numbering(), fresh);
}
