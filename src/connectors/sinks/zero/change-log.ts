/** The change log as the main thread sees it: requests to the thread that writes, and what is published so far. */
import { once } from 'node:events'
import { extname } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { type CoreError, InternalError, toCoreError } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { EarlierOptions } from './earlier-server.ts'
import { logError } from './log-errors.ts'
import type { Answer, Failure, Opened, Request, Watermark } from './log-messages.ts'
import { LogReader } from './log-reader.ts'
import type { LogWorkerData } from './log-worker.ts'
import { PositionWriter, readPosition } from './position-text.ts'
import type { PublicationDefinitions } from './publications.ts'

/** What a thread that answers no more may take, in milliseconds. */
const END_TIMEOUT_MS = 5000

interface Waiting {
  resolve(answer: Answer): void
  reject(error: Error): void
}

export class ChangeLog {
  readonly #path: string
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #opened: Opened
  readonly reader: LogReader
  readonly positions: PositionWriter
  #nextId = 0
  #head: Watermark
  #isWaiting: boolean
  readonly #listeners = new Set<() => void>()
  #failure: CoreError | null = null

  private constructor(path: string, worker: Worker, opened: Opened) {
    this.#path = path
    this.#worker = worker
    this.#opened = opened
    this.reader = new LogReader(path)
    this.positions = new PositionWriter(opened.parts.reduce((last, { id }) => Math.max(last, id), 0) + 1)
    this.#head = opened.head
    this.#isWaiting = opened.waiting
    worker.on('message', ({ id, answer }: { id: number; answer: Answer }) => this.#answered(id, answer))
    worker.on('error', (error) => this.#ended(toCoreError(error)))
    worker.on('exit', () => this.#ended(new InternalError('zero/log-closed', 'the change log is closed')))
  }

  /** Opens or makes the file. Throws when it cannot be had; `zero/log-in-use` when another process has it. */
  static async open(
    path: string,
    publications: PublicationDefinitions,
    earlier: EarlierOptions,
  ): Promise<ChangeLog> {
    const data: LogWorkerData = { path, publications, earlier }
    // As source this file is .ts, in the package .js, and the compiler leaves this string alone.
    const extension = extname(import.meta.url)
    const file = new URL(`./log-worker${extension}`, import.meta.url)
    // Node strips types in WebAssembly. In threads, V8 13.6 crashes now and then when it compiles the way into it anew
    // after 1,000 calls (TierUpWasmToJSWrapper): so it never does. The package is JavaScript and has nothing to strip.
    if (extension === '.ts') setFlagsFromString('--wasm-wrapper-tiering-budget=1000000000')
    const worker = new Worker(file, { workerData: data })
    try {
      // Rejects when the thread fails before.
      const [first] = (await once(worker, 'message')) as [{ opened?: Opened; failure?: Failure }]
      if (first.failure !== undefined) throw logError(path, first.failure)
      return new ChangeLog(path, worker, first.opened!)
    } catch (error) {
      await ended(worker)
      throw error
    }
  }

  /** What was on the disk when it was opened, or reset. */
  get opened(): Opened {
    return this.#opened
  }

  /** Back to what is on the disk, for a new attempt. */
  async reset(): Promise<void> {
    const answer = await this.request({ kind: 'reset' })
    if (answer.kind === 'opened') this.#opened = answer.opened
  }

  /** Everything up to here is published; 0 before the first copy is complete. */
  get head(): Watermark {
    return this.#head
  }

  /** True when the published rows are exactly those of the head: a snapshot may be taken. */
  get isWhole(): boolean {
    return this.#head > 0 && !this.#isWaiting
  }

  /** The position of the rows; null when there is none. */
  position(): SourcePosition | null {
    const { position, parts } = this.#opened
    return position === null
      ? null
      : readPosition(position, (id) => parts.find((part) => part.id === id)?.body ?? null)
  }

  /** Calls when something was published, or the log ends. Returns how to stop that. */
  onPublished(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async request(request: Request): Promise<Answer> {
    if (this.#failure !== null) throw this.#failure
    const id = this.#nextId++
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, request })
    })
    if (answer.kind === 'failed') throw logError(this.#path, answer.failure)
    return answer
  }

  async close(): Promise<void> {
    this.reader.close()
    if (this.#failure === null) await this.request({ kind: 'close' }).catch(() => {})
    await ended(this.#worker)
  }

  #answered(id: number, answer: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (answer.kind === 'done') {
      const changed = answer.head !== this.#head || answer.waiting !== this.#isWaiting
      this.#head = answer.head
      this.#isWaiting = answer.waiting
      if (changed) for (const listener of this.#listeners) listener()
    }
    waiting?.resolve(answer)
  }

  #ended(error: CoreError): void {
    this.#failure ??= error
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
    for (const listener of this.#listeners) listener()
  }
}

/** The thread ends by itself once the log is closed; to end it from outside while it does so is to ask for trouble. */
async function ended(worker: Worker): Promise<void> {
  if (worker.threadId < 0) return
  const stuck = setTimeout(() => void worker.terminate(), END_TIMEOUT_MS)
  await new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  clearTimeout(stuck)
}
