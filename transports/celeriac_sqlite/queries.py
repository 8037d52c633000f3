"""The statements, all of them.

Those that read answer one JSON array of rows, those that write take one: see `celeriac_sqlite.database`. ``CROSS JOIN``
keeps SQLite to the order written: from the few rows given to the many kept.
"""

from __future__ import annotations

# -- state and topology

STATE = "SELECT numbers, topology FROM state"
SET_STATE = "UPDATE state SET numbers = :numbers, topology = topology + :topology"

EXCHANGES = "SELECT json_group_array(json_array(name, type)) FROM exchange"
QUEUES = """
SELECT json_group_array(json_array(id, name, priorities, arguments, paused)) FROM queue WHERE name IS NOT NULL"""
BINDINGS = "SELECT json_group_array(json_array(exchange, queue, routing_key)) FROM binding"

ADD_EXCHANGE = "INSERT INTO exchange (name, type) VALUES (:name, :type)"
ADD_QUEUE = """
INSERT INTO queue (id, name, priorities, arguments) VALUES (:id, :name, :priorities, :arguments)"""
ADD_BINDING = """
INSERT OR IGNORE INTO binding (exchange, queue, routing_key) VALUES (:exchange, :queue, :routing_key)"""
SET_PAUSED = "UPDATE queue SET paused = :paused WHERE id = :queue"
UNBIND = "DELETE FROM binding WHERE queue = :name"
CONDEMN_QUEUE = "UPDATE queue SET name = NULL WHERE id = :queue"
CONDEMNED_QUEUES = "SELECT json_group_array(json_array(id)) FROM queue WHERE name IS NULL"
DROP_QUEUE = "DELETE FROM queue WHERE id = :queue"

# -- messages in

ADD_ENTRIES = """
INSERT INTO entry (seq, queue, state, priority, rank, since, until)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[0]'), :now, json_extract(value, '$[4]')
FROM json_each(:rows)"""
ADD_MESSAGES = """
INSERT INTO message (seq, properties, body)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[5]'),
       coalesce(substr(:bodies, json_extract(value, '$[6]'), json_extract(value, '$[7]')), x'')
FROM json_each(:rows)"""

# -- messages out

FIRST_DUE = """
SELECT json_group_array(json_array(value, (
    SELECT until FROM entry WHERE queue = value AND state > 0 ORDER BY until LIMIT 1)))
FROM json_each(:queues)"""
ANY_READY = """
SELECT json_group_array(json_array(value)) FROM json_each(:queues)
WHERE EXISTS (SELECT 1 FROM entry WHERE queue = value AND state = 0)"""
DUE = """
SELECT json_group_array(json_array(seq, state, until)) FROM (
    SELECT seq, state, until FROM entry
    WHERE queue = :queue AND state > 0 AND until <= :now ORDER BY until LIMIT :limit)"""
PROMOTE_DELAYED = """
UPDATE entry SET state = 0, rank = json_extract(j.value, '$[1]'), since = until, until = NULL
FROM json_each(:rows) AS j WHERE entry.seq = json_extract(j.value, '$[0]')"""
PROMOTE_LOST = """
UPDATE entry SET state = 0, until = NULL, redelivered = 1 WHERE seq IN (SELECT value FROM json_each(:seqs))"""

NEXT = """
SELECT json_group_array(json_array(q.value, json((
    SELECT json_group_array(json_array(priority, rank, seq, size)) FROM (
        SELECT e.priority, e.rank, e.seq, length(m.properties) + length(m.body) AS size
        FROM entry AS e CROSS JOIN message AS m ON m.seq = e.seq
        WHERE e.queue = q.value AND e.state = 0 ORDER BY e.priority DESC, e.rank LIMIT :limit)))))
FROM json_each(:queues) AS q"""
HOLD = """
UPDATE entry SET state = 2, until = :until, claim = :claim, deliveries = deliveries + 1
WHERE seq IN (SELECT value FROM json_each(:seqs))"""
CONTENT = """
SELECT json_group_array(json_array(e.seq, e.priority, e.deliveries, e.redelivered, m.properties, hex(m.body)))
FROM json_each(:seqs) AS j CROSS JOIN entry AS e ON e.seq = j.value CROSS JOIN message AS m ON m.seq = e.seq"""

# -- settling; `held` is rows of (seq, claim, delay)

OURS = """
SELECT json_group_array(json_array(e.seq, e.claim)) FROM json_each(:held) AS j
CROSS JOIN entry AS e ON e.seq = json_extract(j.value, '$[0]')
WHERE e.state = 2 AND e.claim = json_extract(j.value, '$[1]')"""
DROP_ENTRIES = "DELETE FROM entry WHERE seq IN (SELECT value FROM json_each(:seqs))"
GIVE_BACK = """
UPDATE entry SET state = json_extract(j.value, '$[2]') > 0, deliveries = deliveries - 1, redelivered = 1,
    until = CASE WHEN json_extract(j.value, '$[2]') > 0 THEN :now + json_extract(j.value, '$[2]') END
FROM json_each(:held) AS j WHERE entry.seq = json_extract(j.value, '$[0]')"""
EXTEND = "UPDATE entry SET until = :until WHERE seq IN (SELECT value FROM json_each(:seqs))"

# -- looking and tending

READY_COUNT = "SELECT json_group_array(n) FROM (SELECT count(*) AS n FROM entry WHERE queue = :queue AND state = 0)"
WAITING_COUNTS = """
SELECT json_group_array(json_array(state, n)) FROM (
    SELECT state, count(*) AS n FROM entry WHERE queue = :queue AND state > 0 GROUP BY state)"""
OLDEST = """
SELECT json_group_array((
    SELECT since FROM entry WHERE queue = :queue AND state = 0 AND priority = value ORDER BY rank LIMIT 1))
FROM json_each(:priorities)"""
SOME_READY = """
SELECT json_group_array(seq) FROM (
    SELECT seq FROM entry WHERE queue = :queue AND state = 0 AND rank <= :last LIMIT :limit)"""
SOME_DELAYED = """
SELECT json_group_array(seq) FROM (
    SELECT seq FROM entry WHERE queue = :queue AND state > 0 AND state = 1 AND seq <= :last LIMIT :limit)"""
SOME_OF_QUEUE = """
SELECT json_group_array(seq) FROM (
    SELECT seq FROM (SELECT seq FROM entry WHERE queue = :queue AND state = 0 LIMIT :limit)
    UNION ALL
    SELECT seq FROM (SELECT seq FROM entry WHERE queue = :queue AND state > 0 LIMIT :limit)
    LIMIT :limit)"""

# -- signals and revocations

ADD_SIGNALS = "INSERT INTO signal (number, topic, body, until) VALUES (:number, :topic, :body, :until)"
SIGNALS_AFTER = """
SELECT json_group_array(json_array(number, hex(body))) FROM (
    SELECT number, body FROM signal WHERE number > :after AND topic = :topic ORDER BY number LIMIT :limit)"""
PRUNE_SIGNALS = """
DELETE FROM signal WHERE number IN (SELECT number FROM signal WHERE until <= :now ORDER BY number LIMIT :limit)"""
REVOKED_UNTIL = """
SELECT json_group_array(json_array(id, until)) FROM revoked WHERE id IN (SELECT value FROM json_each(:ids))"""
ADD_REVOKED = """
INSERT OR REPLACE INTO revoked (number, id, until)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:rows)"""
REVOKED_AFTER = """
SELECT json_group_array(json_array(number, id)) FROM (
    SELECT number, id FROM revoked WHERE number > :after AND until > :now ORDER BY number LIMIT :limit)"""
PRUNE_REVOKED = """
DELETE FROM revoked WHERE number IN (SELECT number FROM revoked WHERE until <= :now LIMIT :limit)"""

# -- results

STANDING = """
SELECT json_group_array(json_array(r.task_id, r.attempt, r.state)) FROM json_each(:ids) AS j
CROSS JOIN result AS r ON r.task_id = j.value WHERE r.until > :now"""
PUT_RESULTS = """
INSERT OR REPLACE INTO result (number, task_id, attempt, state, until, properties, body)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       coalesce(substr(:bodies, json_extract(value, '$[6]'), json_extract(value, '$[7]')), x'')
FROM json_each(:rows)"""
RESULT_SIZES = """
SELECT json_group_array(json_array(r.task_id, length(r.properties) + length(r.body))) FROM json_each(:ids) AS j
CROSS JOIN result AS r ON r.task_id = j.value WHERE r.until > :now"""
RESULTS = """
SELECT json_group_array(json_array(r.task_id, r.attempt, r.state, r.until, r.properties, hex(r.body)))
FROM json_each(:ids) AS j CROSS JOIN result AS r ON r.task_id = j.value"""
CHANGED_AFTER = """
SELECT json_group_array(json_array(number, task_id, state)) FROM (
    SELECT number, task_id, state FROM result WHERE number > :after ORDER BY number LIMIT :limit)"""
FORGET = "DELETE FROM result WHERE task_id IN (SELECT value FROM json_each(:ids))"
PRUNE_RESULTS = """
DELETE FROM result WHERE number IN (SELECT number FROM result WHERE until <= :now LIMIT :limit)"""

# -- groups

ADD_MEMBER = """
INSERT OR IGNORE INTO member (number, group_name, name, until) VALUES (:number, :group, :member, :until)"""
COUNT_MEMBER = """
INSERT INTO member_count (group_name, members, until) VALUES (:group, :added, :until)
ON CONFLICT (group_name) DO UPDATE SET members = members + :added, until = :until"""
COMPLETE = """
UPDATE member_count SET complete = 1 WHERE group_name = :group AND complete = 0 AND members >= :size"""
PRUNE_MEMBERS = """
DELETE FROM member WHERE number IN (SELECT number FROM member WHERE until <= :now LIMIT :limit)"""
PRUNE_COUNTS = """
DELETE FROM member_count WHERE group_name IN (SELECT group_name FROM member_count WHERE until <= :now LIMIT :limit)"""
