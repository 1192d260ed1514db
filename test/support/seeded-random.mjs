// Makes `Math.random()` repeatable in a process of the soaks: what the test draws, and what the library draws for its
// pauses. `MNEME_SEED` says from where; each process that a test starts gets a seed of its own made of it.

let state = Number(process.env.MNEME_SEED) | 0

/** Mulberry32. */
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}
