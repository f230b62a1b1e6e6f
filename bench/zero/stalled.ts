import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A subscriber in a process of its own that follows the stream and then reads its socket no more. */
export class StalledSubscriber implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Resolves when it has stopped reading. */
  static async start(url: string): Promise<StalledSubscriber> {
    const path = new URL('../contenders/zero-subscriber.ts', import.meta.url).pathname
    const child = spawn(process.execPath, [path, 'stalled', JSON.stringify({ url })], {
      stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
    })
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('the subscriber ended before it stalled'))),
    ])
    return new StalledSubscriber(child)
  }

  /** Bytes that it had read; fails when its socket was closed meanwhile. */
  async received(): Promise<number> {
    this.#child.send('report')
    const [report] = (await once(this.#child, 'message')) as [{ bytes: number; isOpen: boolean }]
    if (!report.isOpen) throw new Error('the stalled subscriber was disconnected')
    return report.bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill()
    await ended
  }
}
