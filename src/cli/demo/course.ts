/** What can end the demo early, as one abort signal: Ctrl-C, SIGTERM, a closed terminal, a part that failed. */
import { constants } from 'node:os'

/** The demo was told to stop. */
export class Interrupted extends Error {
  /** What the process should end with. */
  readonly exitCode: number

  constructor(signal: NodeJS.Signals) {
    super(`stopped by ${signal}`)
    this.name = 'Interrupted'
    this.exitCode = 128 + constants.signals[signal]
  }
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export class Course implements Disposable {
  readonly #controller = new AbortController()
  /** Once is enough: cleaning up has deadlines of its own. */
  readonly #interrupt = (name: NodeJS.Signals): void => this.#controller.abort(new Interrupted(name))

  constructor() {
    for (const name of signals) process.on(name, this.#interrupt)
  }

  /** Aborted with the reason why the demo cannot go on. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Some part failed in the background. */
  readonly fail = (error: unknown): void => this.#controller.abort(error)

  /** The promise, unless the demo ends first; what it does then goes on unheard. */
  async unlessEnded<Value>(promise: Promise<Value>): Promise<Value> {
    const { signal } = this
    let end = (): void => {}
    const ended = new Promise<never>((_, reject) => {
      end = () => reject(signal.reason as Error)
    })
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
    try {
      return await Promise.race([promise, ended])
    } finally {
      signal.removeEventListener('abort', end)
      promise.catch(() => {})
    }
  }

  [Symbol.dispose](): void {
    for (const name of signals) process.off(name, this.#interrupt)
  }
}
