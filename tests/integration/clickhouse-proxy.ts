import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A TCP proxy in front of ClickHouse that counts inserts, holds them back, or loses their answers. It reads HTTP as
 * far as needed to know an insert when it sees one.
 */
export class InsertProxy implements AsyncDisposable {
  /** Requests that were inserts. */
  inserts = 0
  /** Answers to inserts that are still to be lost: the server has done the work, the client does not hear of it. */
  loseAnswers = 0
  /** The reading of rows that is cut off, counted from now: 1 is the next one, 0 none. */
  cutRead = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #port: number
  #held: (() => void)[] | null = null

  private constructor(target: URL) {
    this.#port = Number(target.port)
    this.#server = createServer((client) => this.#join(client, target.hostname))
  }

  static async start(target: string): Promise<InsertProxy> {
    const proxy = new InsertProxy(new URL(target))
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Inserts that arrive from now on wait until `release`. */
  hold(): void {
    this.#held ??= []
  }

  get holding(): number {
    return this.#held?.length ?? 0
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const pass of held) pass()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, host: string): void {
    const server = connect(this.#port, host)
    let inserting = false
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        server.destroy()
      })
    }
    client.on('data', (chunk) => {
      const starts = /^POST \S*[?&]query=INSERT/.test(chunk.toString('latin1', 0, 4096))
      if (starts) this.inserts++
      inserting ||= starts
      // The text of a query is in the body; the sink reads rows as RowBinary.
      if (this.cutRead > 0 && /SELECT `[^]*FORMAT RowBinary/.test(chunk.toString('latin1'))) {
        if (--this.cutRead === 0) return void client.destroy()
      }
      if (!starts || this.#held === null) return void server.write(chunk)
      client.pause()
      this.#held.push(() => {
        server.write(chunk)
        client.resume()
      })
    })
    server.on('data', (chunk) => {
      if (inserting && this.loseAnswers > 0) {
        this.loseAnswers--
        client.destroy()
        return
      }
      inserting = false
      client.write(chunk)
    })
  }
}
