-- Version 1. Moments are integers: microseconds since 1970, UTC, by the machine's wall clock, which all processes share.

CREATE TABLE state (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    numbers  INTEGER NOT NULL,  -- the last number given out: to messages, ranks, claims, results; never used again
    topology INTEGER NOT NULL   -- raised when an exchange, queue, binding or pause changes
);
INSERT INTO state VALUES (1, 0, 0);

CREATE TABLE exchange (
    name TEXT PRIMARY KEY,
    type TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE queue (
    id         INTEGER PRIMARY KEY,  -- a number: entries of a deleted queue never belong to a later one of its name
    name       TEXT UNIQUE,          -- NULL: deleted, its entries are being swept away in small steps
    priorities INTEGER NOT NULL,
    arguments  TEXT NOT NULL,        -- JSON, keys sorted
    paused     INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE binding (
    exchange    TEXT NOT NULL,
    queue       TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    PRIMARY KEY (exchange, queue, routing_key)
) WITHOUT ROWID;

-- Where a message stands. Small, as it is rewritten by every claim.
CREATE TABLE entry (
    seq         INTEGER PRIMARY KEY,
    queue       INTEGER NOT NULL,
    state       INTEGER NOT NULL,             -- 0 ready, 1 delayed, 2 held by a consumer
    priority    INTEGER NOT NULL,
    rank        INTEGER NOT NULL,             -- its place in line within a priority
    since       INTEGER NOT NULL,             -- published, or fallen due
    until       INTEGER,                      -- delayed: its moment; held: the end of the lease
    claim       INTEGER,                      -- the number of the claim that holds it: fences settlements
    deliveries  INTEGER NOT NULL DEFAULT 0,   -- without those given back gracefully
    redelivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX entry_ready ON entry (queue, priority DESC, rank) WHERE state = 0;
CREATE INDEX entry_waiting ON entry (queue, until, state) WHERE state > 0;

-- What was published. Large, and never rewritten.
CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,
    properties TEXT NOT NULL,  -- JSON: id, exchange, routing_key, headers, ...
    body       BLOB NOT NULL
);
CREATE TRIGGER entry_gone AFTER DELETE ON entry BEGIN
    DELETE FROM message WHERE seq = OLD.seq;
END;

CREATE TABLE signal (
    number INTEGER PRIMARY KEY,
    topic  TEXT NOT NULL,
    body   BLOB NOT NULL,
    until  INTEGER NOT NULL
);

CREATE TABLE revoked (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    until  INTEGER NOT NULL
);
CREATE INDEX revoked_until ON revoked (until);

CREATE TABLE result (
    number     INTEGER PRIMARY KEY,  -- a later one with each change: waiters read on from the last they saw
    task_id    TEXT NOT NULL UNIQUE,
    attempt    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    properties TEXT NOT NULL,        -- JSON: content_type, traceback, ...
    body       BLOB NOT NULL,
    until      INTEGER NOT NULL
);
CREATE INDEX result_until ON result (until);

CREATE TABLE member (
    number     INTEGER PRIMARY KEY,
    group_name TEXT NOT NULL,
    name       TEXT NOT NULL,
    until      INTEGER NOT NULL,
    UNIQUE (group_name, name)
);
CREATE INDEX member_until ON member (until);

CREATE TABLE member_count (
    group_name TEXT PRIMARY KEY,
    members    INTEGER NOT NULL,
    complete   INTEGER NOT NULL DEFAULT 0,
    until      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX member_count_until ON member_count (until);
