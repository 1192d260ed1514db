/**
 * The functions of the schema, in PL/pgSQL. They are called with the caller's own rights, and name everything
 * with its schema, so that no `search_path` leads them astray.
 *
 * Of the global order, its reasons and its hazards: docs/decisions/0017-order-by-the-appends-in-flight.md.
 * Two kinds of advisory locks, both for a transaction: of streams and keys, by a 64-bit hash that is seeded with
 * the sequence's OID (and one more, for keys); of the appends in flight, by that OID and the last number that was
 * drawn before.
 *
 * Assignments call functions, rather than PERFORM: PL/pgSQL evaluates simple expressions without a query.
 */

/**
 * The revision of a deleted stream's last row, which is no event. What is left of an erased event is its row with version 0 and
 * without data: its place in the indexes of types and categories, by which events of the same run are found, stays.
 */
export const TOMBSTONE = String(2n ** 63n - 1n)

/** What every append does first. Fixed, because changing a setting costs more than looking at it. */
const CHECK_SESSION = `
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'an append needs READ COMMITTED' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    ignored := set_config('synchronous_commit', 'on', true);
  END IF;`

/** In flight from before the number is drawn, so that readers stay below it until it is committed. */
const DRAW_NUMBER = `
    last := pg_sequence_last_value('POSITIONS');
    ignored := pg_advisory_xact_lock_shared('POSITIONS'::regclass::oid::bigint::bit(32)::int4, last::bit(32)::int4);
    number := nextval('POSITIONS');
    IF number > last THEN NULL; ELSE
      RAISE EXCEPTION 'the sequence of positions was set back, or is cached (% after %)', number, last
        USING ERRCODE = '55000';
    END IF;
    milliseconds := floor(date_part('epoch', clock_timestamp()) * 1000);`

/**
 * One event onto one stream, which is what most appends are.
 *
 * - p_expected: the revision; -1: none; -2: exists; -3: any.
 * - p_call: names an attempt with exists or any, which can be settled; else null.
 * - p_wait: milliseconds to wait for the stream.
 * - Returns its number, its revision and the time in milliseconds; 0 and where the stream stands, if that is not as
 *   expected, or if it was deleted; null where the other function is to say more: its event is there already, or it was settled.
 */
export const APPEND_ONE = `
CREATE OR REPLACE FUNCTION SCHEMA.append_one(
  p_stream text, p_expected bigint, p_call uuid, p_wait integer,
  p_id uuid, p_type text, p_version bigint, p_data text, p_metadata text
) RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  stream_lock bigint := hashtextextended(p_stream, 'POSITIONS'::regclass::oid::bigint);
  head bigint;
  last bigint;
  number bigint;
  milliseconds bigint;
BEGIN${CHECK_SESSION}
  IF NOT pg_try_advisory_xact_lock(stream_lock) THEN
    ignored := set_config('lock_timeout', p_wait || 'ms', true);
    ignored := pg_advisory_xact_lock(stream_lock);
  END IF;
  -- Apart from the next condition, which holds a query, and so costs one whenever it is looked at.
  IF p_call IS NOT NULL THEN
    IF EXISTS (SELECT FROM SCHEMA.settled s WHERE s.call = p_call) THEN RETURN NULL; END IF;
  END IF;${DRAW_NUMBER}
  -- It sees what was committed before the lock was had. If the stream is not as expected, the number is lost.
  INSERT INTO SCHEMA.events
    SELECT number << 16, p_stream, h.head + 1, p_id, p_type, p_version, to_timestamp(milliseconds / 1000.0::float8), 1, 1,
        p_data, p_metadata
      FROM (SELECT coalesce((SELECT e.revision FROM SCHEMA.events e WHERE e.stream = p_stream
                               ORDER BY e.revision DESC LIMIT 1), -1) AS head OFFSET 0) h
      WHERE CASE p_expected WHEN -3 THEN h.head < ${TOMBSTONE} WHEN -2 THEN h.head >= 0 AND h.head < ${TOMBSTONE}
              ELSE h.head = p_expected END
    RETURNING revision INTO head;
  IF head IS NOT NULL THEN RETURN ARRAY[number, head, milliseconds]; END IF;
  SELECT e.revision INTO head FROM SCHEMA.events e WHERE e.stream = p_stream ORDER BY e.revision DESC LIMIT 1;
  IF head > p_expected AND p_expected >= -1 AND EXISTS (SELECT FROM SCHEMA.events e
      WHERE e.stream = p_stream AND e.revision = p_expected + 1 AND e.id = p_id) THEN RETURN NULL;
  END IF;
  RETURN ARRAY[0, coalesce(head, -1)];
END $mneme$`

/**
 * Any appends, judged one after the other, each against what those before it leave.
 *
 * - p_stream, p_write: the streams of the call, each once, in the order of their names; written, or only read.
 *   p_key: its keys, each once.
 * - p_call: as above. p_wait: null: whatever is not free at once is left (verdict 5).
 * - p_after: null, but where a call of which nobody knows the outcome is settled: then the only append's events
 *   are looked for above this position. The record of it makes the first attempt, should it come later, do
 *   nothing; and committing it waits for the disk (and for a synchronous standby) also on behalf of what was found.
 * - c_last, e_last: for each append, the index of the last of its conditions and events.
 *   c_stream, e_stream: indexes of p_stream. c_expected: as above. e_type_run, e_category_run: see the table.
 * - a_event, a_revision: for each append, the index of the event by which a repeat of it is known, and the
 *   revision that it then has; 0: none.
 * - k_append, …: for each key, the index of its append and what to keep with it.
 *
 * Verdicts: 1 appended, 0 a condition does not hold, or a stream was deleted, 2 its events are there already (there: where its first one is),
 * 3 its events may be others of this call, which can be told when those are committed, 4 a key was used, 5 a stream or
 * a key is not free, 6 it was settled before. heads: where the stream of each condition stood.
 */
const appendFunction = (name: string, more: string, time: string) => `
CREATE OR REPLACE FUNCTION SCHEMA.${name}(
  p_stream text[], p_write boolean[], p_key text[], p_call uuid, p_wait integer, p_after bigint,
  c_last integer[], c_stream integer[], c_expected bigint[],
  e_last integer[], e_stream integer[],
  e_id uuid[], e_type text[], e_version bigint[], e_type_run integer[], e_category_run integer[],
  e_data text[], e_metadata text[],
  a_event integer[], a_revision bigint[],
  k_append integer[], k_fingerprint text[], k_first integer[], k_count integer[],${more}
  OUT verdict integer[], OUT heads bigint[], OUT number bigint, OUT milliseconds bigint, OUT there bigint[]
) LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  seed bigint := 'POSITIONS'::regclass::oid::bigint;
  last bigint;
  stream_free boolean[];
  key_free boolean[] := '{}';
  key_used boolean[] := '{}';
  head bigint[];
  revision bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(e_id)]);
  is_dirty boolean := false;
  c integer := 1;
  e integer := 1;
  k integer := 1;
  s integer;
  good integer;
  stale boolean := false;
  other record;
BEGIN${CHECK_SESSION}
  there := array_fill(NULL::bigint, ARRAY[cardinality(c_last)]);
  IF p_wait IS NULL THEN
    SELECT array_agg(CASE WHEN t.w THEN pg_try_advisory_xact_lock(hashtextextended(t.s, seed))
                          ELSE pg_try_advisory_xact_lock_shared(hashtextextended(t.s, seed)) END)
      INTO stream_free FROM unnest(p_stream, p_write) t(s, w);
    IF cardinality(p_key) > 0 THEN
      SELECT array_agg(pg_try_advisory_xact_lock(hashtextextended(t.k, seed + 1)))
        INTO key_free FROM unnest(p_key) t(k);
    END IF;
  ELSE
    -- All callers take them in one order, so that none waits for another that waits for it.
    ignored := set_config('lock_timeout', p_wait || 'ms', true);
    FOR i IN 1..cardinality(p_stream) LOOP
      IF p_write[i] THEN ignored := pg_advisory_xact_lock(hashtextextended(p_stream[i], seed));
      ELSE ignored := pg_advisory_xact_lock_shared(hashtextextended(p_stream[i], seed));
      END IF;
    END LOOP;
    FOR i IN 1..cardinality(p_key) LOOP
      ignored := pg_advisory_xact_lock(hashtextextended(p_key[i], seed + 1));
    END LOOP;
    stream_free := array_fill(true, ARRAY[cardinality(p_stream)]);
    key_free := array_fill(true, ARRAY[cardinality(p_key)]);
  END IF;
  -- Each statement from here on sees what was committed before the locks were had.
  SELECT array_agg(coalesce(
      (SELECT x.revision FROM SCHEMA.events x WHERE x.stream = t.s ORDER BY x.revision DESC LIMIT 1), -1))
    INTO head FROM unnest(p_stream) t(s);
  IF cardinality(p_key) > 0 THEN
    SELECT array_agg(EXISTS (SELECT FROM SCHEMA.keys x WHERE x.key = t.k)) INTO key_used FROM unnest(p_key) t(k);
  END IF;
  IF p_call IS NOT NULL AND p_after IS NULL THEN
    stale := EXISTS (SELECT FROM SCHEMA.settled x WHERE x.call = p_call);
  END IF;
  FOR a IN 1..cardinality(c_last) LOOP
    good := 1;
    WHILE c <= c_last[a] LOOP
      s := c_stream[c];
      heads[c] := head[s];
      IF NOT stream_free[s] THEN good := 5;
      ELSIF good = 1 AND (head[s] = ${TOMBSTONE} OR CASE c_expected[c] WHEN -3 THEN false WHEN -2 THEN head[s] < 0
                              ELSE head[s] <> c_expected[c] END) THEN good := 0;
      END IF;
      c := c + 1;
    END LOOP;
    WHILE k_append[k] = a LOOP
      IF NOT key_free[k] THEN good := 5;
      ELSIF key_used[k] AND good <> 5 THEN good := 4;
      END IF;
      k := k + 1;
    END LOOP;
    IF a_event[a] = 0 THEN
      IF stale AND good = 1 AND e <= e_last[a] THEN good := 6; END IF;
      IF p_after IS NOT NULL AND good IN (0, 1, 4) AND e <= e_last[a] THEN
        FOR other IN SELECT x.position, x.id FROM SCHEMA.events x WHERE x.stream = p_stream[e_stream[e]]
                       ORDER BY x.revision DESC LOOP
          EXIT WHEN other.position <= p_after;
          IF other.id = e_id[e] AND e_id[e:e_last[a]] = ARRAY(
              SELECT x.id FROM SCHEMA.events x
                WHERE x.position >= other.position AND x.position <= other.position + e_last[a] - e
                ORDER BY x.position) THEN
            good := 2;
            there[a] := other.position;
            EXIT;
          END IF;
        END LOOP;
      END IF;
    -- Of a call that is settled, the keys that were used may be its own.
    ELSIF good = 0 OR good = 4 AND p_after IS NOT NULL THEN
      s := e_stream[a_event[a]];
      IF head[s] >= a_revision[a] THEN
        SELECT x.position - (a_event[a] - e) AS position, x.id INTO other FROM SCHEMA.events x
          WHERE x.stream = p_stream[s] AND x.revision = a_revision[a];
        IF NOT FOUND THEN
          -- It is an event of this very call.
          FOR i IN 1..e - 1 LOOP
            IF e_stream[i] = s AND revision[i] = a_revision[a] AND e_id[i] = e_id[a_event[a]] THEN good := 3; END IF;
          END LOOP;
        ELSIF other.id = e_id[a_event[a]] AND e_id[e:e_last[a]] = ARRAY(
            SELECT x.id FROM SCHEMA.events x
              WHERE x.position >= other.position AND x.position <= other.position + e_last[a] - e
              ORDER BY x.position) THEN
          good := 2;
          there[a] := other.position;
        END IF;
      END IF;
    END IF;
    verdict[a] := good;
    IF good = 1 THEN
      WHILE e <= e_last[a] LOOP
        s := e_stream[e];
        head[s] := head[s] + 1;
        revision[e] := head[s];
        is_dirty := true;
        e := e + 1;
      END LOOP;
    ELSE e := e_last[a] + 1;
    END IF;
  END LOOP;
  IF is_dirty THEN${DRAW_NUMBER}
    INSERT INTO SCHEMA.events
      SELECT (number << 16) | (t.o - 1), p_stream[t.s], t.r, t.i, t.ty, t.v, to_timestamp(${time} / 1000.0::float8),
          t.tr, t.cr, t.d, t.m
        FROM unnest(e_stream, revision, e_id, e_type, e_version, e_type_run, e_category_run, e_data, e_metadata)
          WITH ORDINALITY t(s, r, i, ty, v, tr, cr, d, m, o)
        WHERE t.r IS NOT NULL;
    IF cardinality(p_key) > 0 THEN
      INSERT INTO SCHEMA.keys
        SELECT p_key[q.i], k_fingerprint[q.i], (number << 16) | coalesce(e_last[q.a - 1], 0), k_first[q.i], k_count[q.i],
            ARRAY(SELECT p_stream[c_stream[j]] FROM generate_series(coalesce(c_last[q.a - 1], 0) + 1, c_last[q.a]) j),
            heads[coalesce(c_last[q.a - 1], 0) + 1 : c_last[q.a]]
          FROM (SELECT i, k_append[i] a FROM generate_subscripts(p_key, 1) i) q
          WHERE verdict[q.a] = 1 AND k_count[q.i] > 0;
    END IF;
  END IF;
  IF p_after IS NOT NULL THEN
    INSERT INTO SCHEMA.settled VALUES (p_call, clock_timestamp()) ON CONFLICT DO NOTHING;
  END IF;
  -- What was found may be on this server alone: the commit waits for a synchronous standby only where something is written.
  IF p_after IS NOT NULL OR verdict && '{2,4}' THEN
    ignored := pg_logical_emit_message(true, 'mneme', ''::text);
  END IF;
END $mneme$`

export const APPEND = appendFunction('append', '', 'milliseconds')

/** The same with the times at which imported events were recorded, in milliseconds; the least number that JavaScript has exactly: now. */
export const APPEND_AT = appendFunction(
  'append_at',
  '\n  e_time bigint[],',
  `coalesce(nullif(e_time[t.o], ${String(Number.MIN_SAFE_INTEGER)}), milliseconds)`,
)

/**
 * The last position up to which the log is complete, to be read with a later snapshot: below every append in flight.
 * On a standby, which does not see them: what the primary noted last; -1: nothing, though there are events.
 *
 * The order of its steps is what it rests on. The lock's number is the lower half of one that may have gone on by
 * now: the distance between them is signed.
 */
export const HORIZON = `
CREATE OR REPLACE FUNCTION SCHEMA.horizon(OUT reached bigint, OUT drawn bigint, OUT standby boolean)
LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  behind bigint;
BEGIN
  standby := pg_is_in_recovery();
  IF standby THEN
    SELECT h.position INTO reached FROM SCHEMA.horizon h;
    IF reached < 0 AND NOT EXISTS (SELECT FROM SCHEMA.events) THEN reached := 0; END IF;
    RETURN;
  END IF;
  drawn := pg_sequence_last_value('POSITIONS');
  IF drawn IS NULL THEN
    RAISE EXCEPTION 'SELECT or USAGE on the sequence of positions is not granted' USING ERRCODE = '42501';
  END IF;
  SELECT min(((l.objid::bigint - (drawn & 4294967295)) + 6442450944) % 4294967296 - 2147483648) INTO behind
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 'POSITIONS'::regclass::oid
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  -- An event's position: after a crash, numbers above the last one may be drawn again.
  SELECT e.position INTO reached FROM SCHEMA.events e
    WHERE e.position <= (((drawn + least(behind, 0)) << 16) | 65535) ORDER BY e.position DESC LIMIT 1;
  reached := coalesce(reached, 0);
END $mneme$`

/**
 * Notes the horizon for standbys, unless somebody else is at it. Losing it costs nothing, so nothing waits for it.
 * Returns what is noted now.
 */
export const NOTE_HORIZON = `
CREATE OR REPLACE FUNCTION SCHEMA.note_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text := set_config('synchronous_commit', 'off', true);
  reached bigint := (SCHEMA.horizon()).reached;
BEGIN
  UPDATE SCHEMA.horizon h SET position = reached
    WHERE h.ctid = (SELECT x.ctid FROM SCHEMA.horizon x WHERE x.position < reached FOR UPDATE SKIP LOCKED);
  RETURN (SELECT h.position FROM SCHEMA.horizon h);
END $mneme$`

/** The first revision of a stream that lies above a position: by halving, since both rise together. */
export const REVISION_AFTER = `
CREATE OR REPLACE FUNCTION SCHEMA.revision_after(p_stream text, p_position bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $mneme$
DECLARE
  low bigint := 0;
  high bigint := 0;
  middle bigint;
  at bigint;
BEGIN
  SELECT e.revision + 1 INTO high FROM SCHEMA.events e WHERE e.stream = p_stream AND e.revision < ${TOMBSTONE}
    ORDER BY e.revision DESC LIMIT 1;
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT e.position INTO at FROM SCHEMA.events e WHERE e.stream = p_stream AND e.revision = middle;
    IF at <= p_position THEN low := middle + 1; ELSE high := middle; END IF;
  END LOOP;
  RETURN low;
END $mneme$`

/** The first revision that a stream has of which the head is not its tombstone, or that comes next: by halving. */
export const FIRST_REVISION = `
CREATE OR REPLACE FUNCTION SCHEMA.first_revision(p_stream text, p_head bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $mneme$
DECLARE
  low bigint := 1;
  high bigint := p_head + 1;
  middle bigint;
  is_erased boolean;
BEGIN
  SELECT e.version = 0 INTO is_erased FROM SCHEMA.events e WHERE e.stream = p_stream AND e.revision = 0;
  IF is_erased IS NOT TRUE THEN RETURN 0; END IF;
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT e.version = 0 INTO is_erased FROM SCHEMA.events e WHERE e.stream = p_stream AND e.revision = middle;
    IF is_erased THEN low := middle + 1; ELSE high := middle; END IF;
  END LOOP;
  RETURN low;
END $mneme$`

/**
 * Erases the events of a stream before a revision, or deletes the stream, and appends the notice.
 *
 * - p_streams: the stream and that of the notice, in the order in which appends take them. p_before: null: delete.
 *   p_expected, p_wait: as above. p_time: of an imported notice.
 * - Verdicts: 1 done, 0 the stream is not where it was expected, 2 it does not reach so far, 3 nothing to do, 4 it was
 *   deleted. head: where it stood.
 */
export const ERASE = `
CREATE OR REPLACE FUNCTION SCHEMA.erase(
  p_streams text[], p_stream text, p_before bigint, p_expected bigint, p_wait integer,
  p_notice text, p_id uuid, p_type text, p_data text, p_metadata text, p_time bigint,
  OUT verdict integer, OUT head bigint, OUT number bigint
) LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  seed bigint := 'POSITIONS'::regclass::oid::bigint;
  last bigint;
  milliseconds bigint;
BEGIN${CHECK_SESSION}
  ignored := set_config('lock_timeout', p_wait || 'ms', true);
  FOR i IN 1..cardinality(p_streams) LOOP
    ignored := pg_advisory_xact_lock(hashtextextended(p_streams[i], seed));
  END LOOP;
  SELECT e.revision INTO head FROM SCHEMA.events e WHERE e.stream = p_stream ORDER BY e.revision DESC LIMIT 1;
  head := coalesce(head, -1);
  IF head = ${TOMBSTONE} THEN verdict := 4; RETURN; END IF;
  IF (CASE p_expected WHEN -3 THEN false WHEN -2 THEN head < 0 ELSE head <> p_expected END) THEN
    verdict := 0;
    RETURN;
  END IF;
  IF p_before > head + 1 THEN verdict := 2; RETURN; END IF;
  IF p_before <= SCHEMA.first_revision(p_stream, head) THEN verdict := 3; RETURN; END IF;
  UPDATE SCHEMA.events e SET version = 0, data = '', metadata = ''
    WHERE e.stream = p_stream AND e.revision < coalesce(p_before, ${TOMBSTONE}) AND e.version > 0;
  -- A snapshot goes with its event.
  DELETE FROM SCHEMA.snapshots s WHERE s.stream = p_stream AND s.revision < coalesce(p_before, ${TOMBSTONE});${DRAW_NUMBER}
  IF p_before IS NULL THEN
    INSERT INTO SCHEMA.events VALUES (number << 16, p_stream, ${TOMBSTONE}, gen_random_uuid(), '', 0,
      to_timestamp(milliseconds / 1000.0::float8), 0, 0, '', '');
  END IF;
  INSERT INTO SCHEMA.events
    SELECT (number << 16) | 1, p_notice, coalesce(max(x.revision), -1) + 1, p_id, p_type, 1,
        to_timestamp(coalesce(p_time, milliseconds) / 1000.0::float8), 1, 1, p_data, p_metadata
      FROM (SELECT e.revision FROM SCHEMA.events e WHERE e.stream = p_notice ORDER BY e.revision DESC LIMIT 1) x;
  verdict := 1;
END $mneme$`
