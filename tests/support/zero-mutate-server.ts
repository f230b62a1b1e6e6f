import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

/** A custom mutation that a client asks for. */
export interface Mutation {
  readonly clientGroupID: string
  readonly clientID: string
  /** Counts up from 1 in each client. */
  readonly id: number
  readonly name: string
  readonly args: unknown
}

/** Refuses a mutation with an error of the application. */
export interface Refusal {
  readonly error: 'app'
  readonly message: string
}

interface Push {
  readonly clientGroupID: string
  readonly mutations: readonly {
    readonly clientID: string
    readonly id: number
    readonly name: string
    readonly args: readonly unknown[]
  }[]
}

/**
 * The server of an application, which zero-cache sends custom mutations to (`ZERO_MUTATE_URL`). `apply` changes the
 * database, with the client's `lastMutationID` in the same transaction.
 */
export class MutateServer implements AsyncDisposable {
  readonly #http: Server

  private constructor(http: Server) {
    this.#http = http
  }

  static async start(apply: (mutation: Mutation) => Promise<Refusal | void>): Promise<MutateServer> {
    const http = createServer((request, response) => {
      void (async () => {
        const { clientGroupID, mutations } = (await json(request)) as Push
        const answers = []
        for (const { clientID, id, name, args } of mutations) {
          // Says which stored results the client has seen: a real server would delete them.
          if (name === '_zero_cleanupResults') continue
          const refusal = await apply({ clientGroupID, clientID, id, name, args: args[0] })
          answers.push({ id: { clientID, id }, result: refusal ?? {} })
        }
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ kind: 'MutateResponse', mutations: answers }))
      })().catch((error: unknown) => {
        response.statusCode = 500
        response.end(String(error))
      })
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    return new MutateServer(http)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/mutate`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
  }
}
