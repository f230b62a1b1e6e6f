import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { LogFields, Logger } from '../../core/context.ts'
import type { Problem } from '../../core/error.ts'

/** Collects everything that a sink says, to look for what must not be in it (law L14). */
export class Watch {
  /** What no message may hold. */
  readonly #forbidden: Set<string>
  readonly #said: string[] = []
  readonly log: Logger

  constructor(forbidden: readonly string[]) {
    this.#forbidden = new Set(forbidden)
    const line = (message: string, fields?: LogFields): void =>
      void this.#said.push(`${message} ${JSON.stringify(fields ?? {})}`)
    this.log = { debug: line, info: line, warn: line, error: line }
  }

  /** No message may hold this from now on, also none of those so far. */
  forbid(what: string): void {
    this.#forbidden.add(what)
  }

  /** With its causes and its own fields, as a logger would print it. */
  error(error: unknown): void {
    this.#said.push(inspect(error, { depth: 8, maxStringLength: null, maxArrayLength: null }))
  }

  problems(problems: readonly Problem[]): void {
    for (const { code, message, fix } of problems) this.#said.push(`${code} ${message} ${fix}`)
  }

  assertQuiet(): void {
    for (const secret of this.#forbidden) {
      const leak = this.#said.find((said) => said.includes(secret))
      assert(leak === undefined, `a message holds a secret or a cell value ("${secret}"): ${leak}`)
    }
  }
}
