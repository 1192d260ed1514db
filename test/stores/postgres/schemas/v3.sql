-- Schema version 3, with data: its migration's dry run, and what a store of then would have written.

CREATE SCHEMA "mneme";

CREATE TABLE "mneme".meta (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE "mneme".events (
  position bigint PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  id uuid NOT NULL,
  type text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  time timestamptz NOT NULL,
  type_run smallint NOT NULL,
  category_run smallint NOT NULL,
  data text NOT NULL,
  metadata text NOT NULL,
  CONSTRAINT events_stream_revision UNIQUE (stream, revision)
);

CREATE INDEX events_category ON "mneme".events (split_part(stream, '-', 1), position) WHERE category_run > 0;

CREATE INDEX events_type ON "mneme".events (type, position) WHERE type_run > 0;

CREATE TABLE "mneme".keys (
  key text COLLATE "C" PRIMARY KEY,
  fingerprint text NOT NULL,
  position bigint NOT NULL,
  first integer NOT NULL,
  count integer NOT NULL,
  streams text[] NOT NULL,
  heads bigint[] NOT NULL
);

CREATE TABLE "mneme".settled (call uuid PRIMARY KEY, at timestamptz NOT NULL);

CREATE TABLE "mneme".horizon (position bigint NOT NULL);

INSERT INTO "mneme".horizon VALUES (-1);

CREATE SEQUENCE "mneme".positions AS bigint CACHE 1 NO CYCLE;

SELECT nextval('"mneme".positions');

CREATE OR REPLACE FUNCTION "mneme".horizon(OUT reached bigint, OUT drawn bigint, OUT standby boolean)
LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  behind bigint;
BEGIN
  standby := pg_is_in_recovery();
  IF standby THEN
    SELECT h.position INTO reached FROM "mneme".horizon h;
    IF reached < 0 AND NOT EXISTS (SELECT FROM "mneme".events) THEN reached := 0; END IF;
    RETURN;
  END IF;
  drawn := pg_sequence_last_value('"mneme".positions');
  IF drawn IS NULL THEN
    RAISE EXCEPTION 'SELECT or USAGE on the sequence of positions is not granted' USING ERRCODE = '42501';
  END IF;
  SELECT min(((l.objid::bigint - (drawn & 4294967295)) + 6442450944) % 4294967296 - 2147483648) INTO behind
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = '"mneme".positions'::regclass::oid
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  -- An event's position: after a crash, numbers above the last one may be drawn again.
  SELECT e.position INTO reached FROM "mneme".events e
    WHERE e.position <= (((drawn + least(behind, 0)) << 16) | 65535) ORDER BY e.position DESC LIMIT 1;
  reached := coalesce(reached, 0);
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".note_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text := set_config('synchronous_commit', 'off', true);
  reached bigint := ("mneme".horizon()).reached;
BEGIN
  UPDATE "mneme".horizon h SET position = reached
    WHERE h.ctid = (SELECT x.ctid FROM "mneme".horizon x WHERE x.position < reached FOR UPDATE SKIP LOCKED);
  RETURN (SELECT h.position FROM "mneme".horizon h);
END $mneme$;

CREATE TABLE "mneme".snapshots (
  stream text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  id uuid NOT NULL,
  content text NOT NULL,
  PRIMARY KEY (stream, name),
  CONSTRAINT snapshots_event FOREIGN KEY (stream, revision)
    REFERENCES "mneme".events (stream, revision) ON DELETE CASCADE
);

CREATE OR REPLACE FUNCTION "mneme".revision_after(p_stream text, p_position bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $mneme$
DECLARE
  low bigint := 0;
  high bigint := 0;
  middle bigint;
  at bigint;
BEGIN
  SELECT e.revision + 1 INTO high FROM "mneme".events e WHERE e.stream = p_stream AND e.revision < 9223372036854775807
    ORDER BY e.revision DESC LIMIT 1;
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT e.position INTO at FROM "mneme".events e WHERE e.stream = p_stream AND e.revision = middle;
    IF at <= p_position THEN low := middle + 1; ELSE high := middle; END IF;
  END LOOP;
  RETURN low;
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".append_one(
  p_stream text, p_expected bigint, p_call uuid, p_wait integer,
  p_id uuid, p_type text, p_version bigint, p_data text, p_metadata text
) RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  stream_lock bigint := hashtextextended(p_stream, '"mneme".positions'::regclass::oid::bigint);
  head bigint;
  last bigint;
  number bigint;
  milliseconds bigint;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'an append needs READ COMMITTED' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    ignored := set_config('synchronous_commit', 'on', true);
  END IF;
  IF NOT pg_try_advisory_xact_lock(stream_lock) THEN
    ignored := set_config('lock_timeout', p_wait || 'ms', true);
    ignored := pg_advisory_xact_lock(stream_lock);
  END IF;
  -- Apart from the next condition, which holds a query, and so costs one whenever it is looked at.
  IF p_call IS NOT NULL THEN
    IF EXISTS (SELECT FROM "mneme".settled s WHERE s.call = p_call) THEN RETURN NULL; END IF;
  END IF;
    last := pg_sequence_last_value('"mneme".positions');
    ignored := pg_advisory_xact_lock_shared('"mneme".positions'::regclass::oid::bigint::bit(32)::int4, last::bit(32)::int4);
    number := nextval('"mneme".positions');
    IF number > last THEN NULL; ELSE
      RAISE EXCEPTION 'the sequence of positions was set back, or is cached (% after %)', number, last
        USING ERRCODE = '55000';
    END IF;
    milliseconds := floor(date_part('epoch', clock_timestamp()) * 1000);
  -- It sees what was committed before the lock was had. If the stream is not as expected, the number is lost.
  INSERT INTO "mneme".events
    SELECT number << 16, p_stream, h.head + 1, p_id, p_type, p_version, to_timestamp(milliseconds / 1000.0::float8), 1, 1,
        p_data, p_metadata
      FROM (SELECT coalesce((SELECT e.revision FROM "mneme".events e WHERE e.stream = p_stream
                               ORDER BY e.revision DESC LIMIT 1), -1) AS head OFFSET 0) h
      WHERE CASE p_expected WHEN -3 THEN h.head < 9223372036854775807 WHEN -2 THEN h.head >= 0 AND h.head < 9223372036854775807
              ELSE h.head = p_expected END
    RETURNING revision INTO head;
  IF head IS NOT NULL THEN RETURN ARRAY[number, head, milliseconds]; END IF;
  SELECT e.revision INTO head FROM "mneme".events e WHERE e.stream = p_stream ORDER BY e.revision DESC LIMIT 1;
  IF head > p_expected AND p_expected >= -1 AND EXISTS (SELECT FROM "mneme".events e
      WHERE e.stream = p_stream AND e.revision = p_expected + 1 AND e.id = p_id) THEN RETURN NULL;
  END IF;
  RETURN ARRAY[0, coalesce(head, -1)];
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".append(
  p_stream text[], p_write boolean[], p_key text[], p_call uuid, p_wait integer, p_after bigint,
  c_last integer[], c_stream integer[], c_expected bigint[],
  e_last integer[], e_stream integer[],
  e_id uuid[], e_type text[], e_version bigint[], e_type_run integer[], e_category_run integer[],
  e_data text[], e_metadata text[],
  a_event integer[], a_revision bigint[],
  k_append integer[], k_fingerprint text[], k_first integer[], k_count integer[],
  OUT verdict integer[], OUT heads bigint[], OUT number bigint, OUT milliseconds bigint, OUT there bigint[]
) LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  seed bigint := '"mneme".positions'::regclass::oid::bigint;
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
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'an append needs READ COMMITTED' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    ignored := set_config('synchronous_commit', 'on', true);
  END IF;
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
      (SELECT x.revision FROM "mneme".events x WHERE x.stream = t.s ORDER BY x.revision DESC LIMIT 1), -1))
    INTO head FROM unnest(p_stream) t(s);
  IF cardinality(p_key) > 0 THEN
    SELECT array_agg(EXISTS (SELECT FROM "mneme".keys x WHERE x.key = t.k)) INTO key_used FROM unnest(p_key) t(k);
  END IF;
  IF p_call IS NOT NULL AND p_after IS NULL THEN
    stale := EXISTS (SELECT FROM "mneme".settled x WHERE x.call = p_call);
  END IF;
  FOR a IN 1..cardinality(c_last) LOOP
    good := 1;
    WHILE c <= c_last[a] LOOP
      s := c_stream[c];
      heads[c] := head[s];
      IF NOT stream_free[s] THEN good := 5;
      ELSIF good = 1 AND (head[s] = 9223372036854775807 OR CASE c_expected[c] WHEN -3 THEN false WHEN -2 THEN head[s] < 0
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
        FOR other IN SELECT x.position, x.id FROM "mneme".events x WHERE x.stream = p_stream[e_stream[e]]
                       ORDER BY x.revision DESC LOOP
          EXIT WHEN other.position <= p_after;
          IF other.id = e_id[e] AND e_id[e:e_last[a]] = ARRAY(
              SELECT x.id FROM "mneme".events x
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
        SELECT x.position - (a_event[a] - e) AS position, x.id INTO other FROM "mneme".events x
          WHERE x.stream = p_stream[s] AND x.revision = a_revision[a];
        IF NOT FOUND THEN
          -- It is an event of this very call.
          FOR i IN 1..e - 1 LOOP
            IF e_stream[i] = s AND revision[i] = a_revision[a] AND e_id[i] = e_id[a_event[a]] THEN good := 3; END IF;
          END LOOP;
        ELSIF other.id = e_id[a_event[a]] AND e_id[e:e_last[a]] = ARRAY(
            SELECT x.id FROM "mneme".events x
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
  IF is_dirty THEN
    last := pg_sequence_last_value('"mneme".positions');
    ignored := pg_advisory_xact_lock_shared('"mneme".positions'::regclass::oid::bigint::bit(32)::int4, last::bit(32)::int4);
    number := nextval('"mneme".positions');
    IF number > last THEN NULL; ELSE
      RAISE EXCEPTION 'the sequence of positions was set back, or is cached (% after %)', number, last
        USING ERRCODE = '55000';
    END IF;
    milliseconds := floor(date_part('epoch', clock_timestamp()) * 1000);
    INSERT INTO "mneme".events
      SELECT (number << 16) | (t.o - 1), p_stream[t.s], t.r, t.i, t.ty, t.v, to_timestamp(milliseconds / 1000.0::float8),
          t.tr, t.cr, t.d, t.m
        FROM unnest(e_stream, revision, e_id, e_type, e_version, e_type_run, e_category_run, e_data, e_metadata)
          WITH ORDINALITY t(s, r, i, ty, v, tr, cr, d, m, o)
        WHERE t.r IS NOT NULL;
    IF cardinality(p_key) > 0 THEN
      INSERT INTO "mneme".keys
        SELECT p_key[q.i], k_fingerprint[q.i], (number << 16) | coalesce(e_last[q.a - 1], 0), k_first[q.i], k_count[q.i],
            ARRAY(SELECT p_stream[c_stream[j]] FROM generate_series(coalesce(c_last[q.a - 1], 0) + 1, c_last[q.a]) j),
            heads[coalesce(c_last[q.a - 1], 0) + 1 : c_last[q.a]]
          FROM (SELECT i, k_append[i] a FROM generate_subscripts(p_key, 1) i) q
          WHERE verdict[q.a] = 1 AND k_count[q.i] > 0;
    END IF;
  END IF;
  IF p_after IS NOT NULL THEN
    INSERT INTO "mneme".settled VALUES (p_call, clock_timestamp()) ON CONFLICT DO NOTHING;
  END IF;
  -- What was found may be on this server alone: the commit waits for a synchronous standby only where something is written.
  IF p_after IS NOT NULL OR verdict && '{2,4}' THEN
    ignored := pg_logical_emit_message(true, 'mneme', ''::text);
  END IF;
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".append_at(
  p_stream text[], p_write boolean[], p_key text[], p_call uuid, p_wait integer, p_after bigint,
  c_last integer[], c_stream integer[], c_expected bigint[],
  e_last integer[], e_stream integer[],
  e_id uuid[], e_type text[], e_version bigint[], e_type_run integer[], e_category_run integer[],
  e_data text[], e_metadata text[],
  a_event integer[], a_revision bigint[],
  k_append integer[], k_fingerprint text[], k_first integer[], k_count integer[],
  e_time bigint[],
  OUT verdict integer[], OUT heads bigint[], OUT number bigint, OUT milliseconds bigint, OUT there bigint[]
) LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  seed bigint := '"mneme".positions'::regclass::oid::bigint;
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
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'an append needs READ COMMITTED' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    ignored := set_config('synchronous_commit', 'on', true);
  END IF;
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
      (SELECT x.revision FROM "mneme".events x WHERE x.stream = t.s ORDER BY x.revision DESC LIMIT 1), -1))
    INTO head FROM unnest(p_stream) t(s);
  IF cardinality(p_key) > 0 THEN
    SELECT array_agg(EXISTS (SELECT FROM "mneme".keys x WHERE x.key = t.k)) INTO key_used FROM unnest(p_key) t(k);
  END IF;
  IF p_call IS NOT NULL AND p_after IS NULL THEN
    stale := EXISTS (SELECT FROM "mneme".settled x WHERE x.call = p_call);
  END IF;
  FOR a IN 1..cardinality(c_last) LOOP
    good := 1;
    WHILE c <= c_last[a] LOOP
      s := c_stream[c];
      heads[c] := head[s];
      IF NOT stream_free[s] THEN good := 5;
      ELSIF good = 1 AND (head[s] = 9223372036854775807 OR CASE c_expected[c] WHEN -3 THEN false WHEN -2 THEN head[s] < 0
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
        FOR other IN SELECT x.position, x.id FROM "mneme".events x WHERE x.stream = p_stream[e_stream[e]]
                       ORDER BY x.revision DESC LOOP
          EXIT WHEN other.position <= p_after;
          IF other.id = e_id[e] AND e_id[e:e_last[a]] = ARRAY(
              SELECT x.id FROM "mneme".events x
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
        SELECT x.position - (a_event[a] - e) AS position, x.id INTO other FROM "mneme".events x
          WHERE x.stream = p_stream[s] AND x.revision = a_revision[a];
        IF NOT FOUND THEN
          -- It is an event of this very call.
          FOR i IN 1..e - 1 LOOP
            IF e_stream[i] = s AND revision[i] = a_revision[a] AND e_id[i] = e_id[a_event[a]] THEN good := 3; END IF;
          END LOOP;
        ELSIF other.id = e_id[a_event[a]] AND e_id[e:e_last[a]] = ARRAY(
            SELECT x.id FROM "mneme".events x
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
  IF is_dirty THEN
    last := pg_sequence_last_value('"mneme".positions');
    ignored := pg_advisory_xact_lock_shared('"mneme".positions'::regclass::oid::bigint::bit(32)::int4, last::bit(32)::int4);
    number := nextval('"mneme".positions');
    IF number > last THEN NULL; ELSE
      RAISE EXCEPTION 'the sequence of positions was set back, or is cached (% after %)', number, last
        USING ERRCODE = '55000';
    END IF;
    milliseconds := floor(date_part('epoch', clock_timestamp()) * 1000);
    INSERT INTO "mneme".events
      SELECT (number << 16) | (t.o - 1), p_stream[t.s], t.r, t.i, t.ty, t.v, to_timestamp(coalesce(nullif(e_time[t.o], -9007199254740991), milliseconds) / 1000.0::float8),
          t.tr, t.cr, t.d, t.m
        FROM unnest(e_stream, revision, e_id, e_type, e_version, e_type_run, e_category_run, e_data, e_metadata)
          WITH ORDINALITY t(s, r, i, ty, v, tr, cr, d, m, o)
        WHERE t.r IS NOT NULL;
    IF cardinality(p_key) > 0 THEN
      INSERT INTO "mneme".keys
        SELECT p_key[q.i], k_fingerprint[q.i], (number << 16) | coalesce(e_last[q.a - 1], 0), k_first[q.i], k_count[q.i],
            ARRAY(SELECT p_stream[c_stream[j]] FROM generate_series(coalesce(c_last[q.a - 1], 0) + 1, c_last[q.a]) j),
            heads[coalesce(c_last[q.a - 1], 0) + 1 : c_last[q.a]]
          FROM (SELECT i, k_append[i] a FROM generate_subscripts(p_key, 1) i) q
          WHERE verdict[q.a] = 1 AND k_count[q.i] > 0;
    END IF;
  END IF;
  IF p_after IS NOT NULL THEN
    INSERT INTO "mneme".settled VALUES (p_call, clock_timestamp()) ON CONFLICT DO NOTHING;
  END IF;
  -- What was found may be on this server alone: the commit waits for a synchronous standby only where something is written.
  IF p_after IS NOT NULL OR verdict && '{2,4}' THEN
    ignored := pg_logical_emit_message(true, 'mneme', ''::text);
  END IF;
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".first_revision(p_stream text, p_head bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $mneme$
DECLARE
  low bigint := 1;
  high bigint := p_head + 1;
  middle bigint;
  is_erased boolean;
BEGIN
  SELECT e.version = 0 INTO is_erased FROM "mneme".events e WHERE e.stream = p_stream AND e.revision = 0;
  IF is_erased IS NOT TRUE THEN RETURN 0; END IF;
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT e.version = 0 INTO is_erased FROM "mneme".events e WHERE e.stream = p_stream AND e.revision = middle;
    IF is_erased THEN low := middle + 1; ELSE high := middle; END IF;
  END LOOP;
  RETURN low;
END $mneme$;

CREATE OR REPLACE FUNCTION "mneme".erase(
  p_streams text[], p_stream text, p_before bigint, p_expected bigint, p_wait integer,
  p_notice text, p_id uuid, p_type text, p_data text, p_metadata text, p_time bigint,
  OUT verdict integer, OUT head bigint, OUT number bigint
) LANGUAGE plpgsql VOLATILE AS $mneme$
DECLARE
  ignored text;
  seed bigint := '"mneme".positions'::regclass::oid::bigint;
  last bigint;
  milliseconds bigint;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'an append needs READ COMMITTED' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    ignored := set_config('synchronous_commit', 'on', true);
  END IF;
  ignored := set_config('lock_timeout', p_wait || 'ms', true);
  FOR i IN 1..cardinality(p_streams) LOOP
    ignored := pg_advisory_xact_lock(hashtextextended(p_streams[i], seed));
  END LOOP;
  SELECT e.revision INTO head FROM "mneme".events e WHERE e.stream = p_stream ORDER BY e.revision DESC LIMIT 1;
  head := coalesce(head, -1);
  IF head = 9223372036854775807 THEN verdict := 4; RETURN; END IF;
  IF (CASE p_expected WHEN -3 THEN false WHEN -2 THEN head < 0 ELSE head <> p_expected END) THEN
    verdict := 0;
    RETURN;
  END IF;
  IF p_before > head + 1 THEN verdict := 2; RETURN; END IF;
  IF p_before <= "mneme".first_revision(p_stream, head) THEN verdict := 3; RETURN; END IF;
  UPDATE "mneme".events e SET version = 0, data = '', metadata = ''
    WHERE e.stream = p_stream AND e.revision < coalesce(p_before, 9223372036854775807) AND e.version > 0;
  -- A snapshot goes with its event.
  DELETE FROM "mneme".snapshots s WHERE s.stream = p_stream AND s.revision < coalesce(p_before, 9223372036854775807);
    last := pg_sequence_last_value('"mneme".positions');
    ignored := pg_advisory_xact_lock_shared('"mneme".positions'::regclass::oid::bigint::bit(32)::int4, last::bit(32)::int4);
    number := nextval('"mneme".positions');
    IF number > last THEN NULL; ELSE
      RAISE EXCEPTION 'the sequence of positions was set back, or is cached (% after %)', number, last
        USING ERRCODE = '55000';
    END IF;
    milliseconds := floor(date_part('epoch', clock_timestamp()) * 1000);
  IF p_before IS NULL THEN
    INSERT INTO "mneme".events VALUES (number << 16, p_stream, 9223372036854775807, gen_random_uuid(), '', 0,
      to_timestamp(milliseconds / 1000.0::float8), 0, 0, '', '');
  END IF;
  INSERT INTO "mneme".events
    SELECT (number << 16) | 1, p_notice, coalesce(max(x.revision), -1) + 1, p_id, p_type, 1,
        to_timestamp(coalesce(p_time, milliseconds) / 1000.0::float8), 1, 1, p_data, p_metadata
      FROM (SELECT e.revision FROM "mneme".events e WHERE e.stream = p_notice ORDER BY e.revision DESC LIMIT 1) x;
  verdict := 1;
END $mneme$;

INSERT INTO "mneme".meta VALUES ('identity', '11111111-1111-4111-8111-111111111111');

INSERT INTO "mneme".meta VALUES ('schema', '3'), ('compatible', '3') ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value;

INSERT INTO "mneme".events (position, stream, revision, id, type, version, time, data, metadata, type_run, category_run) VALUES
  (131072, 'account-ann', 0, '00000000-0000-4000-8000-000000000001', 'Opened', 1, '2026-01-02T03:04:05.006Z', '{"name":"Ann"}', '{}', 1, 1),
  (196608, 'account-bob', 0, '00000000-0000-4000-8000-000000000002', 'Opened', 1, '2026-01-02T03:04:05.006Z', '{"name":"Bob"}', '{}', 1, 1),
  (262144, 'account-ann', 1, '00000000-0000-4000-8000-000000000003', 'Withdrawn', 2, '2026-02-03T04:05:06.789Z', '{"amount":5,"note":"Größe \"\ud83d\ude00\""}', '{"by":"ann"}', 1, 2),
  (262145, 'account-bob', 1, '00000000-0000-4000-8000-000000000004', 'Deposited', 1, '2026-02-03T04:05:06.789Z', '{"amount":5}', '{"by":"ann"}', 1, 0);
INSERT INTO "mneme".keys VALUES ('transfer-1', 'a-fingerprint', 262144, 0, 2, '{account-ann,account-bob}', '{0,0}');
INSERT INTO "mneme".snapshots VALUES ('account-ann', 'account', 1, '00000000-0000-4000-8000-000000000003', '{"format":1,"version":1,"state":5}');
UPDATE "mneme".horizon SET position = 262145;
SELECT setval('"mneme".positions', 4);
