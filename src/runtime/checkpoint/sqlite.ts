import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { CoreError, InternalError, LeaseLostError, toCoreError } from '../../core/error.ts'
import { type Moment, thisMoment } from './moment.ts'
import type { Answer, Request, WorkerData } from './sqlite-worker.ts'
import { sqliteError } from './sqlite-error.ts'
import { peekFile } from './sqlite-peek.ts'
import {
  type Checkpoint,
  CheckpointStore,
  type Lease,
  LeaseHeldError,
  type LeaseOwner,
  type PipelineState,
} from './store.ts'

/** Format of the stored text. A higher one was written by a newer version and is refused. */
const formatVersion = 1

/**
 * Checkpoints and leases in one SQLite file, by default. Any number of pipelines and processes may share it on one
 * machine; a network file system does not lock well enough. The file is made when it is first needed.
 */
export class SqliteCheckpointStore extends CheckpointStore {
  readonly #path: string
  readonly #now: () => Moment
  #worker: Worker | null = null
  #nextId = 0
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>()

  /** `now` is for tests: the clocks of this machine when left out. */
  constructor(path: string, now: () => Moment = thisMoment) {
    super()
    this.#path = path
    this.#now = now
  }

  async acquire(pipeline: string, owner: LeaseOwner): Promise<Lease> {
    const answer = await this.#ask({ kind: 'acquire', pipeline, owner, now: this.#now() })
    if (answer.kind === 'acquired') return { pipeline, owner, fence: answer.fence }
    if (answer.kind !== 'held') throw unexpected(answer)
    const seconds = Math.ceil(answer.expiresInMs / 1000)
    const holder = `process ${answer.owner.pid} on host ${answer.owner.host}`
    throw new LeaseHeldError('checkpoint/lease-held', `pipeline "${pipeline}" is being run by ${holder}`, {
      fix: `Stop that process first. If it is gone already, its lease ends by itself in ${seconds} s.`,
    })
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const answer = await this.#ask({ kind: 'load', pipeline })
    if (answer.kind !== 'loaded') throw unexpected(answer)
    return answer.text === null ? null : this.#decode(answer.text)
  }

  override async peek(pipeline: string): Promise<PipelineState> {
    const { body, runner } = peekFile(this.#path, pipeline, this.#now())
    return { checkpoint: body === null ? null : this.#decode(body), runner }
  }

  async save(lease: Lease, checkpoint: Checkpoint): Promise<void> {
    const text = JSON.stringify({ format: formatVersion, ...checkpoint })
    const { pipeline, fence } = lease
    this.#keep(lease, await this.#ask({ kind: 'save', pipeline, fence, text, now: this.#now() }))
  }

  async renew(lease: Lease): Promise<void> {
    const { pipeline, fence } = lease
    this.#keep(lease, await this.#ask({ kind: 'renew', pipeline, fence, now: this.#now() }))
  }

  async release(lease: Lease): Promise<void> {
    await this.#ask({ kind: 'release', pipeline: lease.pipeline, fence: lease.fence })
  }

  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === null) return
    await this.#ask({ kind: 'close' })
    this.#worker = null
    await worker.terminate()
  }

  #keep(lease: Lease, answer: Answer): void {
    if (answer.kind === 'done') return
    if (answer.kind !== 'lost') throw unexpected(answer)
    throw new LeaseLostError(
      'checkpoint/lease-lost',
      `another runner took pipeline "${lease.pipeline}" over`,
      {
        fix: 'Run each pipeline once. This process has stopped writing.',
      },
    )
  }

  #decode(text: string): Checkpoint {
    const { format, ...checkpoint } = JSON.parse(text) as Checkpoint & { readonly format: number }
    if (format === formatVersion) return checkpoint
    throw new CoreError(
      'checkpoint/newer-format',
      `the checkpoint in ${this.#path} was written by a newer version`,
      {
        fix: 'Run that version, or name another checkpoint file to copy everything again.',
      },
    )
  }

  async #ask(request: Request): Promise<Answer> {
    const worker = (this.#worker ??= this.#start())
    const id = this.#nextId++
    // The thread keeps the process alive only while somebody waits for an answer.
    worker.ref()
    try {
      const answer = await new Promise<Answer>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject })
        worker.postMessage({ id, request })
      })
      if (answer.kind === 'failed') throw sqliteError(this.#path, answer)
      if (answer.kind === 'gone') throw this.#gone()
      return answer
    } finally {
      if (this.#waiting.size === 0) worker.unref()
    }
  }

  #start(): Worker {
    const data: WorkerData = { path: this.#path }
    // As source this file is .ts, in the package .js, and the compiler leaves this string alone.
    const file = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url)
    const worker = new Worker(file, { workerData: data })
    worker.on('message', ({ id, answer }: { id: number; answer: Answer }) => {
      this.#waiting.get(id)?.resolve(answer)
      this.#waiting.delete(id)
    })
    worker.on('error', (error) => this.#ended(toCoreError(error)))
    worker.on('exit', () =>
      this.#ended(new InternalError('checkpoint/closed', 'the checkpoint store is closed')),
    )
    return worker
  }

  #ended(error: Error): void {
    this.#worker = null
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }

  #gone(): CoreError {
    return new CoreError(
      'checkpoint/missing',
      `the checkpoint file ${this.#path} was removed or replaced while in use`,
      {
        fix: 'Put it back and start again; without it everything is copied again.',
      },
    )
  }
}

function unexpected(answer: Answer): InternalError {
  return new InternalError(
    'checkpoint/unexpected',
    `the checkpoint store gave an answer of kind ${answer.kind}`,
  )
}
