// node scripts/sum-reports.mjs <folder> [failed step]...
//
// Adds up the JSON reports of a folder: names every test that failed, with what it said, and every step that failed,
// and prints `N passed, N failed`: the last line of a CI run.

import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

const [folder, ...failedSteps] = process.argv.slice(2)
const sum = { passed: 0, failed: 0, skipped: 0 }
const failures = []
for (const name of readdirSync(folder)) {
  const report = JSON.parse(readFileSync(join(folder, name), 'utf8'))
  sum.passed += report.numPassedTests
  sum.failed += report.numFailedTests
  sum.skipped += (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0)
  for (const { name: file, status, message, assertionResults } of report.testResults ?? []) {
    if (status !== 'failed') continue
    const failedTests = assertionResults.filter((test) => test.status === 'failed')
    const place = `${name.replace('.json', '')}: ${relative(process.cwd(), file)}`
    for (const { fullName, failureMessages } of failedTests) {
      failures.push(`${place}: ${fullName}\n${failureMessages.join('\n')}`)
    }
    if (failedTests.length > 0) continue
    // A file that could not even be loaded has no failed test in it.
    sum.failed += 1
    failures.push(`${place}\n${message}`)
  }
}
// A step that failed as a whole (an unhandled error, no report at all) is a failure as well.
sum.failed = Math.max(sum.failed, failedSteps.length)

for (const failure of failures) console.log(`FAILED ${failure.replaceAll('\n', '\n  ')}\n`)
for (const step of failedSteps) console.log(`FAILED step: ${step}`)
const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''
console.log(`${sum.passed} passed, ${sum.failed} failed${skipped}`)
process.exit(sum.failed === 0 ? 0 : 1)
