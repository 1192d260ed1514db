/*
 * The checkpoint as the fence of a projection (ADR 0031), as a model for the model checker spin.
 *
 * Promises P1 and P2: each event changes the read model exactly once, by the version in force, whatever workers do.
 * `node scripts/check-models.mjs` runs it, and each wrong variant (a name after `#ifdef`), which spin must refute.
 *
 * A lease may end at any time: a worker may be paused anywhere for as long as it likes, and its clock may be wrong. A worker
 * dies at any step; a COMMIT may take effect without its answer; once, the read model is replaced by that of a newer
 * version, in a new generation.
 */

#define WORKERS 2
#define EVENTS 3

/* The target: the row of the projection, and which version has handled each event, how often. */
byte checkpoint = 0;
byte generation = 0;
byte owner = 0;              /* 0: nobody has the lease */
bool rowLocked = false;      /* by an UPDATE that is not committed */
byte handled[EVENTS + 1];
bool isOldHandling[EVENTS + 1];
bool mayReplace = true;
byte deaths = 0;
byte k; /* of loops, each in one step */

/* Every event up to the checkpoint was handled once, by the version in force, and none behind it. */
inline check() {
  k = 1;
  do
  :: k <= EVENTS ->
     assert(handled[k] == (k <= checkpoint -> 1 : 0));
     assert(!isOldHandling[k]);
     k++
  :: else -> break
  od;
  k = 0
}

inline apply() {
  k = from + 1;
  do
  :: k <= upTo ->
     handled[k]++;
     if :: known != generation -> isOldHandling[k] = true :: else fi;
     k++
  :: else -> break
  od;
  k = 0
}

/* The worker is gone and another one takes its place: the transaction is rolled back. */
inline mayDie() {
  if
  :: true
  :: deaths < 2 -> atomic { deaths++; if :: hasRow -> rowLocked = false; hasRow = false :: else fi }; goto again
  fi
}

proctype Worker(byte id) {
  byte from, known, upTo;
  bool hasRow = false;
again:
  atomic { from = 0; known = 0; upTo = 0; hasRow = false };

  /* The lease is free, its own, or has run out by some clock. */
  owner = id;
  atomic { from = checkpoint; known = generation; from < EVENTS };
batch:
  /* One event, or two. */
  if
  :: upTo = from + 1
  :: from + 2 <= EVENTS -> upTo = from + 2
  fi;
  mayDie();

#ifdef LEASE_IS_THE_FENCE
  /* "I still have the lease" is true when it is asked. */
  if :: owner == id :: owner != id -> goto again fi;
  mayDie();
  atomic { !rowLocked; checkpoint = upTo; apply(); check() };
  goto again;
#endif
#ifdef COMPARED_AT_THE_START
  if :: atomic { checkpoint == from && generation == known } :: else -> goto again fi;
  mayDie();
  atomic { !rowLocked; checkpoint = upTo; apply(); check() };
  goto again;
#endif
#ifdef CHECKPOINT_BEFORE_THE_WRITES
  /* Two transactions: first the checkpoint, then what the handlers write. */
  atomic {
    if
    :: checkpoint == from && generation == known -> checkpoint = upTo
    :: else -> goto again
    fi
  };
  mayDie();
  atomic { apply(); check() };
  goto again;
#endif
#ifdef CHECKPOINT_AFTER_THE_WRITES
  atomic { apply() };
  mayDie();
  atomic {
    if
    :: checkpoint == from && generation == known -> checkpoint = upTo; check()
    :: else -> goto again
    fi
  };
  goto again;
#endif

  /* The handlers write, in a transaction. Its last statement is the fence: it waits for another UPDATE of the row, then
     sees what that one left (READ COMMITTED). */
  mayDie();
  atomic {
    !rowLocked;
    if
#ifdef FENCE_WITHOUT_THE_GENERATION
    :: checkpoint == from -> rowLocked = true; hasRow = true
    :: else -> goto again
#else
    :: checkpoint == from && generation == known -> rowLocked = true; hasRow = true
    :: else -> goto again
#endif
    fi
  };
  mayDie();
  atomic {
    checkpoint = upTo;
    apply();
    check();
    rowLocked = false;
    hasRow = false
  };
#ifdef NOTHING_IS_EVER_HANDLED
  assert(checkpoint < EVENTS);
#endif
  if
  :: goto again
  :: deaths < 2 -> deaths++; goto batch /* the answer to COMMIT was lost, and it tries the same batch again */
  fi
}

/* The read model of a newer version takes the place of this one, handled to the same event. */
proctype Replace() {
  atomic {
    mayReplace && !rowLocked;
    mayReplace = false;
    generation++
  }
}

init {
  atomic {
    run Worker(1);
    run Worker(2);
    run Replace()
  }
}
