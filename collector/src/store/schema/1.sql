-- Version 1, from which the steps in migrations.rs lead on. `body` is the event as the protocol encodes it; the other columns exist to be searched.
CREATE TABLE numberings (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    spool_id TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    -- Numbers that were skipped and have not come since.
    missing INTEGER NOT NULL,
    seen_unix_ns INTEGER NOT NULL,
    UNIQUE (node, boot_id, spool_id)
);
CREATE INDEX numberings_by_seen ON numberings (seen_unix_ns);

-- Stretches of numbers that were skipped, both ends included.
CREATE TABLE gaps (
    numbering INTEGER NOT NULL REFERENCES numberings (id) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    noticed_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (numbering, first)
) WITHOUT ROWID;

CREATE TABLE losses (
    node TEXT NOT NULL,
    cause INTEGER NOT NULL,
    since_unix_ns INTEGER NOT NULL,
    count INTEGER NOT NULL,
    seen_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (node, cause, since_unix_ns)
) WITHOUT ROWID;

-- One row per (node, boot_id, spool_id, sequence). Ids grow with arrival, and retention removes the lowest.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    numbering INTEGER NOT NULL REFERENCES numberings (id),
    sequence INTEGER NOT NULL,
    received_unix_ns INTEGER NOT NULL,
    time_unix_ns INTEGER NOT NULL,
    node TEXT NOT NULL,
    verdict INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    hook INTEGER NOT NULL,
    workload TEXT NOT NULL,
    image_digest TEXT NOT NULL,
    image_reference TEXT NOT NULL,
    package_name TEXT NOT NULL,
    package_purl TEXT NOT NULL,
    path TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (numbering, sequence)
);
CREATE INDEX events_by_time ON events (time_unix_ns);
CREATE INDEX events_by_node ON events (node, time_unix_ns);
CREATE INDEX events_by_verdict ON events (verdict, time_unix_ns);
CREATE INDEX events_by_workload ON events (workload, time_unix_ns);
CREATE INDEX events_by_image ON events (image_digest, time_unix_ns);
CREATE INDEX events_by_package ON events (package_name, time_unix_ns);
