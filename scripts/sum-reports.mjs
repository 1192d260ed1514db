// Adds up the JSON reports of a folder and prints `N passed, N failed`: the last line of a CI run.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.argv[2]
const sum = { passed: 0, failed: 0, skipped: 0 }
for (const file of readdirSync(folder)) {
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  sum.passed += report.numPassedTests
  sum.failed += report.numFailedTests
  sum.skipped += (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0)
  // A file that could not even be loaded has no failed test in it.
  for (const { status, assertionResults } of report.testResults ?? []) {
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed')) sum.failed += 1
  }
}
// A step that failed as a whole (an unhandled error, no report at all) is a failure as well.
const failedSteps = Number(process.env.FAILED_STEPS ?? 0)
sum.failed = Math.max(sum.failed, failedSteps)

const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''
console.log(`${sum.passed} passed, ${sum.failed} failed${skipped}`)
process.exit(sum.failed === 0 ? 0 : 1)
