import { ConfigError } from '../core/error.ts'

/** Something that must hold for every connector of a kind that declares the capabilities which it is about. */
export interface Law<Capabilities, Harness> {
  /** Stable name, kebab-case: key of waivers and of the scorecard. */
  readonly id: string
  /** What must hold, as a sentence that starts with a verb: the name of the test. */
  readonly title: string
  /** False for a connector that does not declare what the law is about. Left out: holds for every connector. */
  applies?(capabilities: Capabilities): boolean
  /** Throws when the law is broken; resolves when it holds. Opens what it needs through the harness, and closes it. */
  check(harness: Harness): Promise<void>
  /** Longest time that `check` may take, in milliseconds. Default 60 s. */
  readonly timeoutMs?: number
}

/** Reasons by law id. A waived law is not run; the output and the scorecard show the reason. */
export type Waivers = Readonly<Record<string, string>>

/** What every harness has. */
export interface LawSubject<Capabilities> {
  /** As the connector declares them with the options that the harness uses. */
  readonly capabilities: Capabilities
  readonly waivers?: Waivers
}

/** What happens to a law for one connector. */
export interface Verdict<Capabilities, Harness> {
  readonly law: Law<Capabilities, Harness>
  readonly status: 'required' | 'waived' | 'not-declared'
  /** Set when the law is waived. */
  readonly reason: string | null
}

/**
 * Decides which laws run. Throws `ConfigError` for a waiver without a reason, of a law that does not exist, or of one
 * that would not run anyway: waivers must not outlive what they excuse.
 */
export function verdicts<Capabilities, Harness>(
  laws: readonly Law<Capabilities, Harness>[],
  subject: LawSubject<Capabilities>,
): readonly Verdict<Capabilities, Harness>[] {
  const waivers = new Map(Object.entries(subject.waivers ?? {}))
  const found = laws.map((law): Verdict<Capabilities, Harness> => {
    const reason = waivers.get(law.id)
    if (law.applies?.(subject.capabilities) === false) return { law, status: 'not-declared', reason: null }
    if (reason === undefined) return { law, status: 'required', reason: null }
    if (reason.trim().length < 10)
      throw new ConfigError('testkit/waiver', `the waiver of law "${law.id}" has no written reason`, {
        fix: 'Say in a sentence why the connector cannot keep the law.',
      })
    waivers.delete(law.id)
    return { law, status: 'waived', reason }
  })
  const [unused] = waivers.keys()
  if (unused === undefined) return found
  throw new ConfigError('testkit/waiver', `the waiver of "${unused}" is for no law that would run`, {
    fix: `Remove it. Laws that run: ${found
      .filter(({ status }) => status !== 'not-declared')
      .map(({ law }) => law.id)
      .join(', ')}.`,
  })
}
