import { type Law, type LawSubject, verdicts } from './law.ts'

/** One law of one connector. `required` becomes `passed` or `failed` when it was run. */
export interface ScorecardLine {
  readonly law: string
  readonly title: string
  readonly status: 'required' | 'passed' | 'failed' | 'waived' | 'not-declared'
  readonly reason: string | null
}

/** Which laws a connector has to keep, known without running them. */
export function scorecard<Capabilities, Harness>(
  laws: readonly Law<Capabilities, Harness>[],
  subject: LawSubject<Capabilities>,
): readonly ScorecardLine[] {
  return verdicts(laws, subject).map(({ law, status, reason }) => ({
    law: law.id,
    title: law.title,
    status,
    reason,
  }))
}

/**
 * The table of a connector's README, in Markdown. A required law counts as kept: the table is checked in the same run
 * of the tests that runs the laws, and a law that fails fails that run.
 */
export function scorecardTable(lines: readonly ScorecardLine[]): string {
  const mark = ({ status, reason }: ScorecardLine): string => {
    if (status === 'waived') return `waived: ${reason}`
    if (status === 'not-declared') return 'not declared'
    return status === 'failed' ? 'broken' : 'kept'
  }
  const rows = lines.map((line) => `| \`${line.law}\` | ${line.title} | ${mark(line)} |`)
  return ['| Law | The connector ... | |', '|---|---|---|', ...rows].join('\n')
}
