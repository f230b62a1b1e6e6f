import { describe, it } from 'vitest'
import { type Law, type LawSubject, type Verdict, verdicts } from './law.ts'

/** What a reporter finds in `task.meta` of each law's test. */
export interface LawMeta {
  readonly connector: string
  readonly kind: 'source' | 'sink'
  readonly law: string
  readonly title: string
  readonly status: 'required' | 'waived' | 'not-declared'
  readonly reason: string | null
}

declare module 'vitest' {
  interface TaskMeta {
    sluice?: LawMeta
  }
}

/** One vitest suite: a test per law that is required, and one that is skipped with its reason per waived law. */
export function describeLaws<Capabilities, Harness extends LawSubject<Capabilities>>(
  kind: 'source' | 'sink',
  name: string,
  laws: readonly Law<Capabilities, Harness>[],
  harness: Harness,
): void {
  describe(`laws of the ${name} ${kind}`, () => {
    const all = verdicts(laws, harness)
    tell(`laws of the ${name} ${kind}`, all)
    for (const { law, status, reason } of all) {
      const meta: LawMeta = { connector: name, kind, law: law.id, title: law.title, status, reason }
      it(
        `${law.id}: ${law.title}`,
        { meta: { sluice: meta }, timeout: law.timeoutMs ?? 60_000 },
        async ({ skip }) => {
          if (status === 'waived') skip(`waived: ${reason}`)
          if (status === 'not-declared') skip('not declared by the connector')
          await law.check(harness)
        },
      )
    }
  })
}

/** Reporters leave the reasons of skipped tests out. */
function tell<Capabilities, Harness>(suite: string, all: readonly Verdict<Capabilities, Harness>[]): void {
  for (const { law, status, reason } of all)
    if (status === 'waived') process.stdout.write(`${suite}: "${law.id}" is waived: ${reason}\n`)
  const undeclared = all.filter(({ status }) => status === 'not-declared').map(({ law }) => law.id)
  if (undeclared.length > 0)
    process.stdout.write(`${suite}: not declared by the connector: ${undeclared.join(', ')}\n`)
}
