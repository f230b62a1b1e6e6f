import type { Socket } from 'node:net'

import type { Conversation } from './commands/auth.ts'
import type { Member } from './member.ts'
import { Framing, replyHead, type Message } from './protocol.ts'

/** What went over a connection, in bytes. */
export interface Traffic {
  received: number
  sent: number
}

/** One client's connection to a member: it takes one message after the other. */
export class Connection {
  readonly id: number
  readonly member: Member
  readonly traffic: Traffic = { received: 0, sent: 0 }
  /** How many bytes each command sent, by its name. */
  readonly sentBy = new Map<string, number>()
  /** What the client says it is called. */
  applicationName = ''
  user: string | null = null
  conversation: Conversation | null = null
  readonly #socket: Socket
  readonly #closed = new AbortController()

  constructor(id: number, member: Member, socket: Socket) {
    this.id = id
    this.member = member
    this.#socket = socket
    socket.setNoDelay(true)
    const framing = new Framing()
    let queue = Promise.resolve()
    socket.on('data', (chunk: Buffer) => {
      this.traffic.received += chunk.length
      try {
        for (const message of framing.push(chunk)) queue = queue.then(() => this.#take(message))
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#closed.abort())
  }

  get signal(): AbortSignal {
    return this.#closed.signal
  }

  /** Closes the connection, or cuts it off as a broken network does. */
  cut(reset = false): void {
    if (reset) this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }

  async #take(message: Message): Promise<void> {
    if (this.signal.aborted) return
    let reply: { readonly name: string; readonly parts: readonly Buffer[] } | null
    try {
      reply = await this.member.dispatch(message, this)
    } catch (error) {
      console.error('the test server failed:', error)
      this.cut()
      return
    }
    if (reply === null || message.moreToCome || this.signal.aborted) return
    await this.member.cluster.controls.replyGate(this.signal)
    if (this.signal.aborted) return
    const size = reply.parts.reduce((sum, part) => sum + part.length, 0)
    const head = replyHead(message, size)
    this.traffic.sent += head.length + size
    this.sentBy.set(reply.name, (this.sentBy.get(reply.name) ?? 0) + head.length + size)
    this.#socket.cork()
    this.#socket.write(head)
    for (const part of reply.parts) this.#socket.write(part)
    this.#socket.uncork()
  }
}
