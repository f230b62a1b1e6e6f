/**
 * Runs the conformance kit on every connector: `npm run conformance [-- --json]`. Writes the laws that each connector
 * keeps into its README, and prints them: as a summary, or as one JSON document.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { LawMeta } from '../src/testkit/describe-laws.ts'
import { type ScorecardLine, scorecardTable } from '../src/testkit/scorecard.ts'
import { withBlock } from './marked-block.ts'

interface ConnectorResult {
  readonly connector: string
  readonly kind: 'source' | 'sink'
  readonly laws: readonly ScorecardLine[]
}

/** What we read of vitest's JSON report. */
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly status: string
      readonly meta: { readonly sluice?: LawMeta }
    }[]
  }[]
}

const root = resolve(import.meta.dirname, '..')

/** The files that run a connector's laws; the others prove the kit itself. */
function lawFiles(): readonly string[] {
  const folder = join(root, 'tests/conformance')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => /\bdescribe(Source|Sink)\(/.test(readFileSync(join(folder, name), 'utf8')))
    .map((name) => `tests/conformance/${name}`)
}

/** Runs the files; the output of the tests goes to standard error. */
function run(files: readonly string[], outputFile: string): Promise<number> {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`]
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const child = spawn(process.execPath, [vitest, 'run', '--project', 'integration', ...reporters, ...files], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  return new Promise((done, failed) => {
    child.on('error', failed)
    child.on('exit', (code) => done(code ?? 1))
  })
}

function resultsOf(report: Report): readonly ConnectorResult[] {
  const results = new Map<string, { connector: string; kind: 'source' | 'sink'; laws: ScorecardLine[] }>()
  for (const { status, meta } of report.testResults.flatMap((file) => file.assertionResults)) {
    if (meta.sluice === undefined) continue
    const { connector, kind, law, title, reason, status: verdict } = meta.sluice
    const result = results.get(`${kind} ${connector}`) ?? { connector, kind, laws: [] }
    results.set(`${kind} ${connector}`, result)
    const outcome = verdict !== 'required' ? verdict : status === 'passed' ? 'passed' : 'failed'
    result.laws.push({ law, title, status: outcome, reason })
  }
  return [...results.values()].toSorted((a, b) =>
    `${a.kind} ${a.connector}` < `${b.kind} ${b.connector}` ? -1 : 1,
  )
}

/** Relative to the repository; the example of a third party is a connector like any other. */
function readmeOf(connector: string, kind: 'source' | 'sink'): string {
  if (connector === 'jsonl' && kind === 'source') return 'examples/third-party-connector/README.md'
  return `src/connectors/${kind}s/${connector}/README.md`
}

function summary({ connector, kind, laws }: ConnectorResult): string {
  const count = (status: ScorecardLine['status']): number =>
    laws.filter((line) => line.status === status).length
  const broken = laws.filter(({ status }) => status === 'failed').map(({ law }) => `\n  broken: ${law}`)
  const waived = laws
    .filter(({ status }) => status === 'waived')
    .map(({ law, reason }) => `\n  waived: ${law}: ${reason}`)
  return `${connector} ${kind}: ${count('passed')} laws kept, ${broken.length} broken, ${waived.length} waived, ${count('not-declared')} not declared${broken.join('')}${waived.join('')}`
}

const folder = mkdtempSync(join(tmpdir(), 'sluice-conformance-'))
try {
  const outputFile = join(folder, 'report.json')
  process.exitCode = await run(lawFiles(), outputFile)
  const results = resultsOf(JSON.parse(readFileSync(outputFile, 'utf8')) as Report)
  for (const { connector, kind, laws } of results) {
    const readme = join(root, readmeOf(connector, kind))
    if (!existsSync(readme)) continue
    const updated = withBlock(readFileSync(readme, 'utf8'), 'laws', scorecardTable(laws))
    if (updated !== null) writeFileSync(readme, updated)
  }
  process.stdout.write(
    process.argv.includes('--json')
      ? `${JSON.stringify({ connectors: results }, null, 2)}\n`
      : `${results.map(summary).join('\n')}\n`,
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
