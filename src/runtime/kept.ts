import type { KeptThings, Logger } from '../core/context.ts'
import { toCoreError } from '../core/error.ts'

/** What connectors leave for their next instance, until the run ends. */
export class Kept implements KeptThings {
  readonly #things = new Map<string, AsyncDisposable>()
  readonly #log: Logger

  constructor(log: Logger) {
    this.#log = log
  }

  keep(name: string, thing: AsyncDisposable): void {
    this.#things.set(name, thing)
  }

  take(name: string): AsyncDisposable | null {
    const thing = this.#things.get(name) ?? null
    this.#things.delete(name)
    return thing
  }

  /** Disposes of all; never rejects. */
  async end(): Promise<void> {
    const things = [...this.#things]
    this.#things.clear()
    for (const [name, thing] of things) {
      try {
        await thing[Symbol.asyncDispose]()
      } catch (error) {
        this.#log.warn(`${name} did not end: ${toCoreError(error).message}`)
      }
    }
  }
}
