/** A TCP proxy that behaves as badly as a network can: for tests of connectors. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Address } from './address.ts'

/** `toServer` is what the client sends, `toClient` what the server answers. */
export type Direction = 'toServer' | 'toClient'

/** What becomes of bytes on their way: passed on, lost although the sender has sent them, or the connection is reset. */
export type Verdict = 'pass' | 'lose' | 'cut'

/**
 * Decides about bytes before they are passed on. `connection` is the same object for both directions of a connection,
 * for state that belongs to it. The bytes wait as long as a promise does.
 */
export type Inspector = (
  bytes: Buffer,
  direction: Direction,
  connection: object,
) => Verdict | Promise<Verdict>

/** A throttled direction passes bytes on in so many portions a second. */
const PORTIONS_PER_SECOND = 20

/**
 * Stands between a client and a server and passes bytes on, until told otherwise. Nothing is collected: what is not
 * passed on waits at its sender, so back-pressure reaches through. A half-closed connection stays half-closed.
 */
export class TcpProxy implements AsyncDisposable {
  /** Connections that were refused. */
  refused = 0
  /** Looks at everything that is passed on; null looks at nothing. */
  inspect: Inspector | null = null
  readonly #target: Address
  readonly #server: Server
  readonly #directions = { toServer: new Flow(), toClient: new Flow() }
  readonly #connections = new Set<Connection>()
  #refusing = false

  private constructor(target: Address) {
    this.#target = target
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
  }

  /** Listens on a free port of the loopback interface. `target` is where the server is. */
  static async start(target: Address): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** Where clients connect to, on 127.0.0.1. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size
  }

  /** Bytes that were passed on so far. */
  get bytes(): Readonly<Record<Direction, number>> {
    const { toServer, toClient } = this.#directions
    return { toServer: toServer.bytes, toClient: toClient.bytes }
  }

  /** Resets every connection: both ends get an error. New ones are accepted. */
  cut(): void {
    for (const connection of this.#connections) connection.cut()
  }

  /** New connections are reset as soon as they are accepted; those that are open stay. */
  refuse(on: boolean): void {
    this.#refusing = on
  }

  /** Passes nothing on, not even the end of a connection, until `resume`: a cable that is pulled. */
  stall(direction: Direction | 'both'): void {
    for (const one of directionsOf(direction)) this.#directions[one].stall()
  }

  /** Passes on no more than so many bytes a second, over all connections. */
  throttle(bytesPerSecond: number, direction: Direction | 'both'): void {
    for (const one of directionsOf(direction)) this.#directions[one].throttle(bytesPerSecond)
  }

  /** Ends stalling and throttling. What was stalled is passed on now, with the end of connections that are gone. */
  resume(): void {
    for (const flow of Object.values(this.#directions)) flow.open()
  }

  /**
   * Tells the receiver of this direction that nothing more comes, on every open connection; what its sender still
   * sends is lost. The other direction goes on.
   */
  halfClose(direction: Direction): void {
    for (const connection of this.#connections) connection.halfClose(direction)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse(true)
    this.resume()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
  }

  #accept(client: Socket): void {
    if (this.#refusing) {
      this.refused++
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    const inspect: Inspector = (...args) => this.inspect?.(...args) ?? 'pass'
    const connection = new Connection(client, server, this.#directions, inspect)
    this.#connections.add(connection)
    void connection.done.then(() => this.#connections.delete(connection))
  }
}

/** What holds for one direction of all connections. */
class Flow {
  bytes = 0
  #stalled = false
  #bytesPerSecond = Infinity
  /** When the next portion may pass, on the clock of `performance`. */
  #freeAtMs = 0
  #changed = Promise.withResolvers<void>()

  stall(): void {
    this.#stalled = true
    this.#change()
  }

  throttle(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
    this.#freeAtMs = performance.now()
    this.#change()
  }

  open(): void {
    this.#stalled = false
    this.#bytesPerSecond = Infinity
    this.#change()
  }

  /** Waits until something may pass, and gives how many of the wanted bytes. */
  async admit(wanted: number): Promise<number> {
    while (this.#stalled || (this.#bytesPerSecond !== Infinity && performance.now() < this.#freeAtMs)) {
      const { promise } = this.#changed
      const timer = new AbortController()
      const pause = this.#stalled
        ? promise
        : delay(Math.max(1, this.#freeAtMs - performance.now()), undefined, timer).catch(() => {})
      await Promise.race([promise, pause])
      timer.abort()
    }
    if (this.#bytesPerSecond === Infinity) return wanted
    const portion = Math.max(1, Math.min(wanted, Math.floor(this.#bytesPerSecond / PORTIONS_PER_SECOND)))
    this.#freeAtMs = performance.now() + (portion / this.#bytesPerSecond) * 1000
    return portion
  }

  #change(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

/** A client's connection and the one to the server that belongs to it. */
class Connection {
  /** Both sockets are closed. */
  readonly done: Promise<unknown>
  readonly #client: Socket
  readonly #server: Socket
  readonly #inspect: Inspector
  readonly #closed = new Set<Direction>()

  constructor(client: Socket, server: Socket, flows: Readonly<Record<Direction, Flow>>, inspect: Inspector) {
    this.#client = client
    this.#server = server
    this.#inspect = inspect
    this.done = Promise.all(
      [client, server].map(
        (socket) => new Promise((resolve) => socket.once('close', resolve).on('error', () => {})),
      ),
    )
    void this.#carry(client, server, 'toServer', flows.toServer)
    void this.#carry(server, client, 'toClient', flows.toClient)
  }

  cut(): void {
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
  }

  halfClose(direction: Direction): void {
    this.#closed.add(direction)
    this.#receiver(direction).end()
  }

  #receiver(direction: Direction): Socket {
    return direction === 'toServer' ? this.#server : this.#client
  }

  /** Reads only what can be passed on. The end of the one side becomes the end of the other, a failure a reset. */
  async #carry(from: Socket, to: Socket, direction: Direction, flow: Flow): Promise<void> {
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false }))
        await this.#deliver(chunk as Buffer, to, direction, flow)
      await flow.admit(0)
      to.end()
    } catch {
      await flow.admit(0)
      to.resetAndDestroy()
    }
  }

  async #deliver(chunk: Buffer, to: Socket, direction: Direction, flow: Flow): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      const portion = rest.subarray(0, await flow.admit(rest.length))
      rest = rest.subarray(portion.length)
      const verdict = await this.#inspect(portion, direction, this)
      if (verdict === 'cut') this.cut()
      if (verdict !== 'pass' || this.#closed.has(direction) || to.destroyed) continue
      flow.bytes += portion.length
      if (!to.write(portion)) await roomIn(to)
    }
  }
}

/** Resolves also when the socket is closed, as nothing is to be waited for then. */
async function roomIn(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.once('drain', resolve).once('close', resolve)
  await promise
  socket.off('drain', resolve).off('close', resolve)
}

function directionsOf(direction: Direction | 'both'): readonly Direction[] {
  return direction === 'both' ? ['toServer', 'toClient'] : [direction]
}
