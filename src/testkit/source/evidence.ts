/** Everything that connectors say: log lines and errors. None of it may hold a secret or the value of a cell (law L14). */
import { inspect } from 'node:util'
import type { LogFields, Logger } from '../../core/context.ts'
import { CoreError, type Problem } from '../../core/error.ts'
import type { Source } from '../../core/source.ts'
import { VALUE_MARKS } from './rows.ts'

export class Evidence {
  readonly #said: { readonly where: string; readonly text: string }[] = []

  readonly log: Logger = {
    debug: (message, fields) => this.#line('debug', message, fields),
    info: (message, fields) => this.#line('info', message, fields),
    warn: (message, fields) => this.#line('warn', message, fields),
    error: (message, fields) => this.#line('error', message, fields),
  }

  /** Number of errors so far. */
  errors = 0

  /** An error with its code, fix and causes, and whatever else it carries: a logger may print all of it. */
  error(error: unknown): void {
    this.errors++
    const where = error instanceof CoreError ? `the error ${error.code}` : 'an error'
    this.#said.push({
      where,
      text: inspect(error, { depth: 8, maxStringLength: null, breakLength: Infinity }),
    })
  }

  problems(problems: readonly Problem[]): void {
    for (const problem of problems)
      this.#said.push({ where: `the problem ${problem.code}`, text: JSON.stringify(problem) })
  }

  /** Throws when something that was said holds a secret, or a value that the kit has written to a table. */
  check(secrets: readonly string[]): void {
    const forbidden = [
      ...secrets.map((text) => ({ what: 'a secret', text })),
      ...VALUE_MARKS.map((text) => ({ what: 'the value of a cell', text })),
    ]
    for (const { where, text: said } of this.#said) {
      const found = forbidden.find(({ text }) => said.includes(text))
      if (found !== undefined) throw new Error(`${where} holds ${found.what} ("${found.text}"): ${said}`)
    }
  }

  /** The same source, with every error that one of its methods throws noted. */
  witness(source: Source): Source {
    return new Proxy(source, {
      get: (target, name): unknown => {
        const member: unknown = Reflect.get(target, name, target)
        if (typeof member !== 'function') return member
        return (...parameters: readonly unknown[]): unknown =>
          this.#call(() => member.apply(target, parameters))
      },
    })
  }

  #call(method: () => unknown): unknown {
    try {
      const result = method()
      if (result instanceof Promise) result.catch((error: unknown) => this.error(error))
      return result
    } catch (error) {
      this.error(error)
      throw error
    }
  }

  #line(level: string, message: string, fields: LogFields | undefined): void {
    this.#said.push({ where: `a log line (${level})`, text: `${message} ${JSON.stringify(fields ?? {})}` })
  }
}
