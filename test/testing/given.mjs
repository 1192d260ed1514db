// Run by given-node-test.test.ts under plain Node, on the built package: the last test fails on purpose.

import { test } from 'node:test'
import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { given } from 'mneme/testing'

const Door = defineAggregate({
  name: 'Door',
  events: { Opened: event(), Closed: event() },
  initial: () => ({ open: false }),
  apply: { Opened: () => ({ open: true }), Closed: () => ({ open: false }) },
})
const { Opened, Closed } = Door.events
const open = defineCommand({
  reads: (door) => Door(door),
  handle: (door) => (door.open ? reject('open-already') : Opened()),
})

test('a closed door opens', () => given(Door('a'), Opened(), Closed()).when(open('a')).thenEvents(Opened()))

test('an open door does not', () => given(Door('a'), Opened()).when(open('a')).thenRejected('open-already'))

test('this one fails', () => given(Door('a'), Opened()).when(open('a')).thenEvents(Opened()))
