import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'

import { WriteTurns } from '../../../src/stores/sqlite/write-turns.ts'
import { testFolder } from './folder.ts'

/** Processes that write one file, on a clock that the test moves. */
function processes(count: number) {
  const path = join(testFolder(), 'bank.db-turn')
  let [now, set] = [1_000_000, 0]
  const clock = { now: () => now, date: () => now + set }
  const all = Array.from({ length: count }, () => new WriteTurns(path, clock))
  onTestFinished(() => all.forEach((turns) => turns.close()))
  /** Moves the clock, a millisecond at a time, with an attempt of each of those that wait. */
  const pass = (milliseconds: number, waiting: readonly WriteTurns[] = []) => {
    for (let i = 0; i < milliseconds; i++) {
      now++
      for (const turns of waiting) turns.wait()
    }
  }
  const setClock = (milliseconds: number) => (set = milliseconds)
  return { path, all, pass, setClock }
}

describe('write turns between processes', () => {
  test('a process that gets the lock within 4 ms makes no turn file', () => {
    const { path, all, pass } = processes(2)
    const [busy, light] = all
    pass(4, [light!])
    light!.taken()
    expect(busy!.isAnothers()).toBe(false)
    expect(existsSync(path)).toBe(false)
  })

  test('a busy writer leaves the lock to a process that has waited, until that process gets it', () => {
    const { all, pass } = processes(2)
    const [busy, light] = all
    expect(busy!.isAnothers()).toBe(false)
    pass(6, [light!])
    for (let i = 0; i < 20; i++) {
      expect(busy!.isAnothers()).toBe(true)
      pass(1, [light!])
    }
    expect(light!.isAnothers()).toBe(false)
    light!.taken()
    expect(busy!.isAnothers()).toBe(false)
  })

  test('the process that has waited longest goes first', () => {
    const { all, pass } = processes(3)
    const [busy, first, second] = all
    pass(3, [first!])
    pass(10, [first!, second!])
    expect([busy!, second!, first!].map((turns) => turns.isAnothers())).toEqual([true, true, false])
    first!.taken()
    pass(10, [second!])
    expect([busy!, second!].map((turns) => turns.isAnothers())).toEqual([true, false])
  })

  test('a writer works on for 5 ms when a waiting process has not taken the lock for 25 ms', () => {
    const { all, pass } = processes(2)
    const [busy, slow] = all
    pass(10, [slow!])
    const verdicts = Array.from({ length: 35 }, () => {
      const verdict = busy!.isAnothers()
      pass(1, [slow!])
      return verdict
    })
    expect(verdicts).toEqual([
      ...Array<boolean>(25).fill(true),
      ...Array<boolean>(5).fill(false),
      ...Array<boolean>(5).fill(true),
    ])
  })

  test.each([-18_000_000, 18_000_000])('a clock set by %d ms while a process waits changes nothing', (by) => {
    const { all, pass, setClock } = processes(2)
    const [busy, light] = all
    pass(10, [light!])
    setClock(by)
    pass(10, [light!])
    expect(busy!.isAnothers()).toBe(true)
    expect(light!.isAnothers()).toBe(false)
  })

  test('a process that has died is skipped after 40 ms', () => {
    const { all, pass } = processes(2)
    const [busy, dead] = all
    pass(10, [dead!])
    expect(busy!.isAnothers()).toBe(true)
    pass(41)
    expect(busy!.isAnothers()).toBe(false)
  })
})
