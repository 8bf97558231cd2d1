-- Version 2: the chain. A link is 32 bytes; it is NULL where an agent kept none.
-- The link after `last_sequence`.
ALTER TABLE numberings ADD COLUMN chain BLOB;
-- The link before the event. `body` is what it was made of, byte for byte.
ALTER TABLE events ADD COLUMN chain BLOB;
-- The link before the first number that is missing.
ALTER TABLE gaps ADD COLUMN chain BLOB;
-- The node has counted what is missing as lost.
ALTER TABLE gaps ADD COLUMN accounted INTEGER NOT NULL DEFAULT 0;

-- What contradicted the history that was stored before. Bounded for each numbering.
CREATE TABLE quarantined (
    id INTEGER PRIMARY KEY,
    numbering INTEGER NOT NULL REFERENCES numberings (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    received_unix_ns INTEGER NOT NULL,
    chain BLOB,
    body BLOB NOT NULL
);
CREATE INDEX quarantined_by_numbering ON quarantined (numbering);

-- Bounded for each node. `boot_id` and `spool_id` are empty, and `first` and `last` 0, where no numbering is concerned.
CREATE TABLE findings (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    spool_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    raised_unix_ns INTEGER NOT NULL,
    -- NULL for as long as it holds.
    ended_unix_ns INTEGER,
    -- How often it was raised.
    count INTEGER NOT NULL,
    UNIQUE (node, kind, boot_id, spool_id, first)
);

-- What nodes signed, as they sent it. The statement is about the link behind event `sequence`.
CREATE TABLE checkpoints (
    numbering INTEGER NOT NULL REFERENCES numberings (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    statement BLOB NOT NULL,
    scheme INTEGER NOT NULL,
    signature BLOB NOT NULL,
    -- SHA-256 of the certificate whose key signed.
    certificate BLOB NOT NULL,
    PRIMARY KEY (numbering, sequence)
) WITHOUT ROWID;

-- Chains of certificates by the first one's SHA-256; that one has place 0.
CREATE TABLE certificates (
    sha256 BLOB NOT NULL,
    place INTEGER NOT NULL,
    der BLOB NOT NULL,
    PRIMARY KEY (sha256, place)
) WITHOUT ROWID;
