/*
 * PostgreSQL's global order by the appends in flight (ADR 0017), as a model for the model checker spin.
 *
 * Promise R2: a reader that has seen an event never finds one below it later. `node scripts/check-models.mjs` runs it, and
 * each wrong variant (a name after `#ifdef`), which spin must refute.
 *
 * Writers append one event in each transaction, or roll back; a reader continues behind the last event that it has seen;
 * the server crashes once, which undoes what is in flight and may hand out the numbers of it again.
 */

#define WRITERS 2
#define NUMBERS 4 /* the last number that the sequence hands out */

byte sequence = 0;          /* the last number that was drawn */
byte locked[NUMBERS + 1];   /* how many shared locks there are on (sequence, L) */
bool visible[NUMBERS + 1];  /* the events that a new snapshot has: those committed */
byte seen = 0;              /* the last event that the reader has seen */
bool crashed[WRITERS + 1];  /* of each writer, and of the reader */
bool mayCrash = true;

inline release() {
  locked[last] = locked[last] - holds;
  holds = false
}

/* The end of a transaction: first its rows become visible, then its locks go. */
inline commit() {
#ifdef LOCK_GOES_BEFORE_THE_COMMIT_IS_VISIBLE
  atomic { release() };
#endif
  atomic { visible[number] = true; assert(number > seen) };
  atomic { release() }
}

proctype Writer(byte id) {
  byte last, number;
  bool holds;
#ifdef SEQUENCE_IS_CACHED
  byte cached = 0;
#endif
again:
  {
    d_step { last = 0; number = 0 };
#ifdef SEQUENCE_IS_CACHED
    sequence < NUMBERS || cached > 0;
#else
    sequence < NUMBERS;
#endif
#ifdef DRAWN_BEFORE_REGISTERED
    atomic { sequence < NUMBERS; sequence++; number = sequence };
    last = number - 1;
    atomic { locked[last]++; holds = true };
#else
    last = sequence;
#ifndef NOT_REGISTERED
    atomic { locked[last]++; holds = true };
#endif
#ifdef SEQUENCE_IS_CACHED
    /* CACHE 2: a session draws two numbers and keeps the second for its next append. */
    atomic {
      if
      :: cached > 0 -> number = cached; cached = 0
      :: cached == 0 && sequence < NUMBERS - 1 -> number = sequence + 1; cached = sequence + 2; sequence = sequence + 2
      :: cached == 0 && sequence >= NUMBERS - 1 -> release(); goto again
      fi
    };
#else
    atomic {
      if
      :: sequence < NUMBERS -> sequence++; number = sequence
      :: else -> release(); goto again
      fi
    };
#endif
#ifndef NOT_GUARDED
    /* The function refuses a number that is not above L. */
    if
    :: number > last
    :: else -> atomic { release() }; goto again
    fi;
#endif
#endif
    if
    :: commit()
    :: atomic { release() } /* rolled back: its number is lost */
    fi
  } unless {
    atomic {
      crashed[id];
      crashed[id] = false;
      holds = false;
#ifdef SEQUENCE_IS_CACHED
      cached = 0
#endif
    }
  };
  goto again
}

byte i; /* of loops, each in one step */

/* The last visible event up to a bound: the horizon is an event's position, never a number without an event. */
inline lastEventUpTo(bound, found) {
  found = 0;
  i = 1;
  do
  :: i <= bound -> if :: visible[i] -> found = i :: else fi; i++
  :: else -> break
  od;
  i = 0
}

/* The least number that is locked, or the last one drawn. */
inline leastLock() {
  behind = drawn;
  i = 0;
  do
  :: i < drawn && i < behind -> if :: locked[i] > 0 -> behind = i :: else fi; i++
  :: else -> break
  od;
  i = 0
}

#ifdef ONE_SNAPSHOT
#define PAGE snapshot
#else
#define PAGE visible
#endif

proctype Reader() {
  byte drawn, behind, horizon;
#ifdef ONE_SNAPSHOT
  bool snapshot[NUMBERS + 1];
#endif
again:
  crashed[WRITERS] = false;
  /* One statement: if the server crashes meanwhile, it is asked again. */
  {
    drawn = 0;
#ifdef ONE_SNAPSHOT
    /* `position <= horizon()` in one statement: what it sees is older than the horizon. */
    d_step {
      i = 1;
      do :: i <= NUMBERS -> snapshot[i] = visible[i]; i++ :: else -> break od;
      i = 0
    };
#endif
#ifdef LOCKS_BEFORE_THE_SEQUENCE
    d_step { drawn = NUMBERS; leastLock() };
    d_step {
      drawn = sequence;
      if :: behind > drawn -> behind = drawn :: else fi
    };
#else
    drawn = sequence;
    d_step { leastLock() };
#endif
#ifdef HORIZON_IS_A_NUMBER
    horizon = behind
#else
    d_step { lastEventUpTo(behind, horizon) }
#endif
  } unless {
    atomic { crashed[WRITERS]; drawn = 0; behind = 0; horizon = 0; goto again }
  };
  /* A page, in a later snapshot; if the server crashes meanwhile, on another connection with the same horizon. */
  d_step {
    drawn = seen;
    i = seen + 1;
    do
    :: i <= horizon -> if :: PAGE[i] -> drawn = i :: else fi; i++
    :: else -> break
    od;
    /* Everything up to the last event of the page was on it. */
    i = seen + 1;
    do
    :: i <= drawn -> assert(PAGE[i] == visible[i]); i++
    :: else -> break
    od;
    i = 0;
    seen = drawn;
#ifdef CHECKPOINT_IS_THE_HORIZON
    if :: behind > seen -> seen = behind :: else fi;
#endif
    drawn = 0;
    behind = 0;
    horizon = 0
  };
#ifdef NOTHING_IS_EVER_READ
  assert(seen < 3);
#endif
  goto again
}

/* What was not committed is gone; the sequence stands anywhere from the last committed number to the last drawn one. */
proctype Crash() {
  byte last;
  atomic {
    mayCrash;
    mayCrash = false;
    lastEventUpTo(sequence, last);
    do
    :: sequence > last -> sequence--
    :: break
    od;
    i = 0;
    do :: i <= NUMBERS -> locked[i] = 0; i++ :: else -> break od;
    i = 0;
    do :: i <= WRITERS -> crashed[i] = true; i++ :: else -> break od;
    i = 0;
    last = 0
  }
}

init {
  byte n = 0;
  atomic {
    do :: n < WRITERS -> run Writer(n); n++ :: else -> break od;
    run Reader();
    run Crash()
  }
}
