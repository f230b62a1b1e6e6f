import { BSON } from 'mongodb'
import { createServer, type AddressInfo, type Server } from 'node:net'

import type { Cluster } from './cluster.ts'
import type { Command } from './command.ts'
import { Connection } from './connection.ts'
import { Cursors } from './cursors.ts'
import { dispatch } from './dispatch.ts'
import type { CommandError } from './errors.ts'
import type { Message } from './protocol.ts'
import { date, Doc, int64, textOf, timestamp } from './value.ts'

/** A member of a replica set, a standalone server or a mongos: a port, its connections and its cursors. */
export class Member {
  readonly cluster: Cluster
  readonly connections = new Set<Connection>()
  readonly cursors = new Cursors()
  /** The numbers of all cursors over change streams that there ever were. */
  readonly streams = new Set<bigint>()
  /** How many connections it has taken. */
  accepted = 0
  /** What open streams fail with while a step-down is under way. */
  interruption: CommandError | null = null
  #interrupts = new AbortController()
  #server: Server | null = null
  #port: number

  constructor(cluster: Cluster, port = 0) {
    this.cluster = cluster
    this.#port = port
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  get port(): number {
    return this.#port
  }

  get isUp(): boolean {
    return this.#server !== null
  }

  get isPrimary(): boolean {
    return this.cluster.primary === this
  }

  /** Fires when waiting streams shall be interrupted. */
  get interrupted(): AbortSignal {
    return this.#interrupts.signal
  }

  interrupt(error: CommandError): void {
    this.interruption = error
    this.#interrupts.abort()
    this.#interrupts = new AbortController()
  }

  /** Opens the port: a free one at first, the same one later. */
  async start(): Promise<void> {
    const server = createServer((socket) => {
      const connection = new Connection(++this.accepted, this, socket)
      this.connections.add(connection)
      this.cluster.controls.countConnection(connection)
      connection.signal.addEventListener('abort', () => this.connections.delete(connection))
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Closes the port and cuts all connections; cursors are lost, data is kept. */
  async stop(): Promise<void> {
    const server = this.#server
    if (!server) return
    this.#server = null
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const connection of this.connections) connection.cut()
    this.cursors.clear()
    await closed
  }

  dispatch(message: Message, connection: Connection) {
    return dispatch(message, connection)
  }

  #lastWrite() {
    const { store, term } = this.cluster
    const opTime = { ts: timestamp(store.clock.last), t: int64(BigInt(term)) }
    const when = date(BigInt(store.log.newest?.wall ?? 0))
    return { opTime, lastWriteDate: when, majorityOpTime: opTime, majorityWriteDate: when }
  }

  hello(command: Command) {
    const { persona, members, primary, term, auth } = this.cluster
    const client = command.doc('client')
    const application = client?.get('application')
    if (application instanceof Doc) command.connection.applicationName = textOf(application.get('name')) ?? ''
    const old = command.name !== 'hello'
    const isPrimary = persona.topology !== 'replicaSet' || this.isPrimary
    return {
      helloOk: command.flag('helloOk') ? true : undefined,
      [old ? 'ismaster' : 'isWritablePrimary']: isPrimary,
      ...(persona.topology === 'sharded' ? { msg: 'isdbgrid' } : {}),
      ...(persona.topology === 'replicaSet'
        ? {
            lastWrite: this.#lastWrite(),
            hosts: members.map(({ address }) => address),
            setName: persona.setName,
            setVersion: 1,
            secondary: !isPrimary,
            primary: primary?.address,
            me: this.address,
            electionId: isPrimary
              ? BSON.ObjectId.createFromHexString(`7fffffff${term.toString(16).padStart(16, '0')}`)
              : undefined,
          }
        : {}),
      maxBsonObjectSize: 16_777_216,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      localTime: date(BigInt(command.store.clock.now())),
      logicalSessionTimeoutMinutes: 30,
      connectionId: command.connection.id,
      minWireVersion: 0,
      maxWireVersion: persona.wireVersion,
      readOnly: false,
      saslSupportedMechs: auth && command.value('saslSupportedMechs') ? ['SCRAM-SHA-256'] : undefined,
    }
  }
}
