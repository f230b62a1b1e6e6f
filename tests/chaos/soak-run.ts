/** `npm run soak`: a long run of the pipeline under load and faults. Exit code 1 when something is wrong. */
import { reportJson, reportLines } from '../support/soak/report.ts'
import { soak } from '../support/soak/soak.ts'
import { soakOptions, USAGE, UsageError } from '../support/soak/options.ts'

try {
  const options = soakOptions(process.argv.slice(2))
  const report = await soak({ ...options, log: (line) => process.stderr.write(`${line}\n`) })
  process.stdout.write(options.json ? `${reportJson(report)}\n` : `${reportLines(report).join('\n')}\n`)
  process.exitCode = report.wrong.length === 0 ? 0 : 1
} catch (error) {
  const text = error instanceof UsageError ? `${error.message}\n\n${USAGE}` : (error as Error).stack
  process.stderr.write(`${text}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
