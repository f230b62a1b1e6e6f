import { TcpProxy, type Verdict } from '../../src/testkit/tcp-proxy.ts'

/**
 * A proxy in front of ClickHouse that counts inserts, holds them back, or loses their answers. It reads HTTP as far as
 * needed to know an insert when it sees one.
 */
export class InsertProxy implements AsyncDisposable {
  /** Requests that were inserts. */
  inserts = 0
  /** Answers to inserts that are still to be lost: the server has done the work, the client does not hear of it. */
  loseAnswers = 0
  /** The reading of rows that is cut off, counted from now: 1 is the next one, 0 none. */
  cutRead = 0
  readonly #link: TcpProxy
  /** Connections on which an insert waits for its answer. */
  readonly #inserting = new WeakSet<object>()
  #held: (() => void)[] | null = null

  private constructor(link: TcpProxy) {
    this.#link = link
    link.inspect = (bytes, direction, connection) =>
      direction === 'toServer' ? this.#request(bytes, connection) : this.#answer(connection)
  }

  static async start(target: string): Promise<InsertProxy> {
    const { hostname, port } = new URL(target)
    return new InsertProxy(await TcpProxy.start({ host: hostname, port: Number(port) }))
  }

  get url(): string {
    return `http://127.0.0.1:${this.#link.port}`
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
    await this.#link[Symbol.asyncDispose]()
  }

  async #request(bytes: Buffer, connection: object): Promise<Verdict> {
    // The text of a query is in the body; the sink reads rows as RowBinary.
    if (this.cutRead > 0 && /SELECT `[^]*FORMAT RowBinary/.test(bytes.toString('latin1'))) {
      if (--this.cutRead === 0) return 'cut'
    }
    if (!/^POST \S*[?&]query=INSERT/.test(bytes.toString('latin1', 0, 4096))) return 'pass'
    this.inserts++
    this.#inserting.add(connection)
    if (this.#held !== null) await new Promise<void>((pass) => this.#held!.push(pass))
    return 'pass'
  }

  #answer(connection: object): Verdict {
    if (!this.#inserting.delete(connection) || this.loseAnswers === 0) return 'pass'
    this.loseAnswers--
    return 'cut'
  }
}
